// Products of packed panels against the sums they stand for, at sizes around those of the kernel.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "amcore/linalg/product.hpp"
#include "test.hpp"

namespace amcore {
namespace {

using test::check;
using test::near;
using test::normal;

template <class T> constexpr double eps = std::numeric_limits<T>::epsilon();

// Below, at and above a vector, half of one, a panel and two.
template <class T> std::vector<Index> sizes(Index panel) {
  return {1, 2, 3, panel / 2, panel - 1, panel, panel + 1, 2 * panel + 3};
}

// A (m × k, row-major) and X (k × n, a column every k entries), with zeros where asked for.
template <class T> struct Factors {
  Index m, n, k;
  std::vector<T> A, X;

  Factors(Index m_, Index n_, Index k_, bool sparse)
      : m(m_), n(n_), k(k_), A(normal<T>(m_ * k_, 1)), X(normal<T>(k_ * n_, 2)) {
    if (!sparse) return;
    for (Index j = 0; j < n; ++j)
      for (Index p = 0; p < k; ++p)
        if (p % 3 != 0) X[static_cast<std::size_t>(p + j * k)] = 0;
  }
  // The exact entry and what rounding may do to it.
  std::pair<double, double> entry(Index i, Index j) const {
    double total = 0, size = 0;
    for (Index p = 0; p < k; ++p) {
      const double term = static_cast<double>(A[static_cast<std::size_t>(i * k + p)]) *
                          static_cast<double>(X[static_cast<std::size_t>(p + j * k)]);
      total += term;
      size += std::abs(term);
    }
    return {total, 4 * static_cast<double>(k + 2) * eps<T> * (size + 4)};
  }
};

// multiply(destination) must write C ← D ± (A X + b1ᵀ) and nothing else.
template <class T, class Multiply>
void expect_product(const Factors<T>& factors, const char* what, Multiply&& multiply) {
  const auto [m, n] = std::pair(factors.m, factors.n);
  const Index ld = m + 5;
  const std::vector<T> before = normal<T>(ld * n, 3), other = normal<T>(ld * n, 4),
                       bias = normal<T>(m, 5);
  for (const Update update : {Update::assign, Update::add, Update::subtract})
    for (const bool from_other : {false, true})
      for (const bool with_bias : {false, true}) {
        std::vector<T> c = before;
        multiply(Destination<T>{c.data(), ld, update, from_other ? other.data() : nullptr,
                                with_bias ? bias.data() : nullptr});
        for (Index j = 0; j < n; ++j)
          for (Index i = 0; i < ld; ++i) {
            const auto at = static_cast<std::size_t>(i + j * ld);
            if (i >= m) {
              check(c[at] == before[at], what, "wrote between columns", i, j);
              continue;
            }
            auto [expected, tolerance] = factors.entry(i, j);
            if (with_bias) expected += static_cast<double>(bias[static_cast<std::size_t>(i)]);
            const double old = static_cast<double>((from_other ? other : before)[at]);
            if (update == Update::add) expected = old + expected;
            if (update == Update::subtract) expected = old - expected;
            check(near(static_cast<double>(c[at]), expected, tolerance), what, m, n, factors.k, i,
                  j, c[at], expected);
          }
      }
}

template <class T> void products() {
  const Index rows = Kernel<T>::rows, columns = Kernel<T>::columns;
  for (const Index m : sizes<T>(rows))
    for (const Index n : sizes<T>(columns))
      for (const Index k : {1, 2, 7, 40}) {
        const Factors<T> factors(m, n, k, false);
        std::vector<T> left(static_cast<std::size_t>(left_panels_size<T>(m, k)));
        std::vector<T> right(static_cast<std::size_t>(right_panels_size<T>(k, n)));
        pack_left(m, k, factors.A.data(), k, Index(1), left.data());
        pack_right(k, n, factors.X.data(), right.data());
        expect_product(factors, "product", [&](const Destination<T>& to) {
          multiply(m, n, k, left.data(), right.data(), to);
        });
        std::vector<T> transposed(static_cast<std::size_t>(k * n));
        for (Index j = 0; j < n; ++j)
          for (Index p = 0; p < k; ++p)
            transposed[static_cast<std::size_t>(j + p * n)] =
                factors.X[static_cast<std::size_t>(p + j * k)];
        std::fill(right.begin(), right.end(), std::numeric_limits<T>::quiet_NaN());
        pack_right_transposed(k, n, transposed.data(), n, right.data(), k);
        expect_product(factors, "product of a transposed", [&](const Destination<T>& to) {
          multiply(m, n, k, left.data(), right.data(), to);
        });
      }
}

template <class T> void sparse_products() {
  for (const Index m : sizes<T>(Kernel<T>::rows))
    for (const Index n : sizes<T>(Kernel<T>::columns))
      for (const bool sparse : {false, true}) {
        const Index k = 31;
        const Factors<T> factors(m, n, k, sparse);
        std::vector<T> left(static_cast<std::size_t>(left_panels_size<T>(m, k)));
        std::vector<T> right(static_cast<std::size_t>(right_panels_size<T>(k, n)));
        std::vector<std::int32_t> rows(static_cast<std::size_t>(SparsePanels<T>::rows_size(k, n))),
            counts(static_cast<std::size_t>(SparsePanels<T>::counts_size(n)));
        pack_left(m, k, factors.A.data(), k, Index(1), left.data());
        const SparsePanels<T> panels{right.data(), rows.data(), counts.data()};
        pack_right_sparse(k, n, factors.X.data(), panels);
        check(std::all_of(counts.begin(), counts.end(),
                          [&](std::int32_t count) { return (count < k) == sparse; }),
              "zero rows are left out, and only they");
        expect_product(factors, "sparse product", [&](const Destination<T>& to) {
          multiply(m, n, k, left.data(), panels, to);
        });
      }
}

// G += V Vᵀ: the lower triangle, whatever happens above it.
template <class T> void lower_triangles() {
  for (const Index m : sizes<T>(Kernel<T>::rows))
    for (const Index k : {1, 12, 50}) {
      const std::vector<T> V = normal<T>(m * k, 6);
      std::vector<T> left(static_cast<std::size_t>(left_panels_size<T>(m, k)));
      std::vector<T> right(static_cast<std::size_t>(right_panels_size<T>(k, m)));
      pack_left(m, k, V.data(), Index(1), m, left.data());
      pack_right_transposed(k, m, V.data(), m, right.data(), k);
      std::vector<T> G(static_cast<std::size_t>(m * m), T(1));
      multiply(m, m, k, left.data(), right.data(), Destination<T>{G.data(), m, Update::add}, true);
      for (Index j = 0; j < m; ++j)
        for (Index i = j; i < m; ++i) {
          double expected = 1, size = 1;
          for (Index p = 0; p < k; ++p) {
            const double term = static_cast<double>(V[static_cast<std::size_t>(i + p * m)]) *
                                static_cast<double>(V[static_cast<std::size_t>(j + p * m)]);
            expected += term;
            size += std::abs(term);
          }
          check(near(static_cast<double>(G[static_cast<std::size_t>(i + j * m)]), expected,
                     4 * static_cast<double>(k + 2) * eps<T> * size),
                "lower triangle", m, k, i, j);
        }
    }
}

}  // namespace
}  // namespace amcore

int main() {
  using namespace amcore;
  return test::run({
      {"products, float32", products<float>},
      {"products, float64", products<double>},
      {"products with a sparse operand, float32", sparse_products<float>},
      {"products with a sparse operand, float64", sparse_products<double>},
      {"symmetric products, float32", lower_triangles<float>},
      {"symmetric products, float64", lower_triangles<double>},
  });
}
