// Regularised least squares on Gram data, free of the number of samples:
//   argmin_X r(X) + ½⟨D, D H⟩ − ⟨D, R⟩,   D = X − X⁰,   H symmetric positive definite,
// by accelerated proximal gradient steps (Beck, Teboulle 2009) with restarts (O'Donoghue, Candès
// 2015): where a step would raise the objective or goes against the momentum. The objective never
// rises, also where r is not convex: an accelerated step is kept only if it lowers it, and a plain
// step with 1/L, L ≥ λ_max(H), cannot raise it.
#pragma once

#include <array>
#include <cmath>

#include "amcore/linalg/spd_solve.hpp"
#include "amcore/linalg/symmetric_product.hpp"
#include "amcore/regularizer/regularizer.hpp"

namespace amcore {

struct InnerLoop {
  double tolerance = 1e-6;  // of the first step's prox-gradient residual
  int iterations = 200;     // at most
};

template <class T> class ProximalGradient {
 public:
  ProximalGradient() = default;
  ProximalGradient(Index rows, Index columns, int threads)
      : times_h_(columns, rows, threads), point_(rows * columns), best_(rows * columns) {
    for (auto& buffer : buffers_) buffer = Buffer<double>(rows * columns);
    vector_ = Buffer<double>(2 * columns);
  }

  // x: rows × columns, row-major, X⁰ on entry. h: columns × columns; r: columns × rows, a row of R
  // in each column. Returns how much the smooth part fell, ⟨D, R⟩ − ½⟨D, D H⟩.
  double solve(Index rows, Index columns, const MatrixMap<double>& h, const MatrixMap<double>& r,
               const Regularizer<T>& regularizer, T* x, const InnerLoop& loop, int threads) {
    const Index size = rows * columns;
    const auto array = [&](std::size_t k) {
      return Eigen::Map<Eigen::ArrayXd>(buffers_[k].data(), size);
    };
    const Eigen::Map<const Eigen::ArrayXd> right(r.data(), size);
    auto origin = array(0), d = array(1), hd = array(2), dy = array(3), hy = array(4);
    auto dz = array(5), hz = array(6);
    ConstArrayMap<T> start(x, size);
    ArrayMap<T> point(point_.data(), size), best(best_.data(), size);
    origin = start.template cast<double>();
    best = start;
    d.setZero();
    hd.setZero();
    dy.setZero();
    hy.setZero();

    times_h_.pack(h, threads);
    double L = largest_eigenvalue(h, vector_.data()), momentum = 1, first = -1;
    bool plain = true;  // dy = d
    for (int k = 0; k < loop.iterations; ++k) {
      point = (origin + dy - (hy - right) / L).template cast<T>();
      regularizer.prox(rows, columns, point_.data(), static_cast<T>(1 / L), point_.data());
      dz = point.template cast<double>() - origin;
      times_h_(rows, dz.data(), hz.data(), threads);
      const double smooth = ((dz - d) * (0.5 * (hd + hz) - right)).sum();
      const double rest = regularizer.difference(rows, columns, point_.data(), best_.data());
      if (!(smooth + rest <= 0)) {
        if (plain) {
          constexpr double few = 8 * std::numeric_limits<double>::epsilon();
          if (!(smooth + rest > few * (std::abs(smooth) + std::abs(rest)))) break;
          L *= 2;  // the eigenvalue was an estimate from below
        }
        dy = d;
        hy = hd;
        momentum = 1;
        plain = true;
        continue;
      }
      const double residual = L * std::sqrt((dz - dy).square().sum());
      if (first < 0) first = residual;
      if (((dy - dz) * (dz - d)).sum() > 0) momentum = 1;
      const double next = (1 + std::sqrt(1 + 4 * momentum * momentum)) / 2;
      const double share = (momentum - 1) / next;
      momentum = next;
      dy = dz + share * (dz - d);
      hy = hz + share * (hz - hd);
      plain = share == 0;
      d = dz;
      hd = hz;
      best = point;
      if (residual <= loop.tolerance * first) break;
    }
    std::copy_n(best_.data(), size, x);
    return (d * (right - 0.5 * hd)).sum();
  }

 private:
  SymmetricProduct times_h_;
  Buffer<T> point_, best_;
  std::array<Buffer<double>, 7> buffers_;
  Buffer<double> vector_;
};

}  // namespace amcore
