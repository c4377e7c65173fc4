#pragma once

#include <algorithm>
#include <cmath>

#include "amcore/regularizer/regularizer.hpp"

namespace amcore::regularizer {

// r(x) = λ Σ ‖x_G‖ over the groups G: the rows (axis = 1, the axis along which the norms are
// taken) or the columns (axis = 0);  prox: x_G (1 − τλ/‖x_G‖), or 0 where that is negative
struct GroupLassoRegularizer {
  static constexpr std::array parameters{Parameter{"lam", 1.0}, Parameter{"axis", 1}};
  static constexpr bool separable = false;
  explicit GroupLassoRegularizer(const ParameterValues& values)
      : lam(in_range(values[0], "group_lasso: lam", 0)),
        by_row(in_range(values[1], "group_lasso: axis", 0, 1) == 1) {}

  template <class T> double value(Index rows, Index columns, const T* x) const {
    return over_groups(rows, columns, [&](const Group& group) { return lam * group.norm(x); });
  }
  // ‖a‖ − ‖b‖ = ⟨a − b, a + b⟩/(‖a‖ + ‖b‖)
  template <class T> double difference(Index rows, Index columns, const T* a, const T* b) const {
    return over_groups(rows, columns, [&](const Group& group) {
      const double size = group.norm(a) + group.norm(b);
      if (size == 0) return 0.0;
      const double change = group.sum_of([&](Index i) {
        return (static_cast<double>(a[i]) - b[i]) * ((static_cast<double>(a[i]) + b[i]) / size);
      });
      return lam * change;
    });
  }
  template <class T> void prox(Index rows, Index columns, const T* x, T tau, T* out) const {
    over_groups(rows, columns, [&](const Group& group) {
      const double norm = group.norm(x), rest = norm - lam * tau;
      const T shrink = rest > 0 ? static_cast<T>(rest / norm) : T(0);
      for (Index k = 0; k < group.size; ++k) out[group.at(k)] = shrink * x[group.at(k)];
      return 0.0;
    });
  }
  template <class T, class Squared> double squared_distance(Index rows, Index columns, const T* x,
                                                            const T* g, Squared&& squared) const {
    return over_groups(rows, columns, [&](const Group& group) {
      const double norm = group.norm(x);
      if (norm == 0) return squared(std::max(group.norm(g) - lam, 0.0));
      return group.sum_of([&](Index i) { return squared(g[i] + lam * (x[i] / norm)); });
    });
  }

  double lam;
  bool by_row;

 private:
  struct Group {
    Index first, stride, size;
    Index at(Index k) const { return first + k * stride; }
    template <class Term> double sum_of(Term&& term) const {
      return sum(size, [&](Index k) { return term(at(k)); });
    }
    template <class T> double norm(const T* x) const {
      return root([&](auto&& squared) { return sum_of([&](Index i) { return squared(x[i]); }); });
    }
  };
  template <class Body> double over_groups(Index rows, Index columns, Body&& body) const {
    if (by_row) return sum(rows, [&](Index i) { return body(Group{i * columns, 1, columns}); });
    return sum(columns, [&](Index j) { return body(Group{j, columns, rows}); });
  }
};

}  // namespace amcore::regularizer
