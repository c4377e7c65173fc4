// Regularised least squares on Gram data, free of the number of samples:
//   argmin_X r(X) + ½⟨D, D H⟩ − ⟨D, R⟩,   D = X − X⁰,   H symmetric positive definite,
// by accelerated proximal gradient steps (Beck, Teboulle 2009) with restarts (O'Donoghue, Candès
// 2015): where a step would raise the objective or goes against the momentum. The objective never
// rises, also where r is not convex: an accelerated step is kept only if it lowers it, and a plain
// step with 1/L, L ≥ λ_max(H), cannot raise it.
#pragma once

#include <array>
#include <cmath>
#include <utility>

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
      : times_h_(columns, rows, threads), sums_(4 * blocks_of(rows, block)), vector_(2 * columns) {
    for (auto& buffer : steps_) buffer = Buffer<double>(rows * columns);
    for (auto& buffer : points_) buffer = Buffer<T>(rows * columns);
  }

  // x: rows × columns, row-major, X⁰ on entry. h: columns × columns; r: columns × rows, a row of R
  // in each column. Returns how much the smooth part fell, ⟨D, R⟩ − ½⟨D, D H⟩.
  double solve(Index rows, Index columns, const MatrixMap<double>& h, const MatrixMap<double>& r,
               const Regularizer<T>& regularizer, T* x, const InnerLoop& loop, int threads) {
    const Index size = rows * columns;
    const bool by_row = regularizer.by_row();
    const double* const right = r.data();
    // D at the best point, at the one before it, and at Z, which is tried next; beside them D H.
    double *d = steps_[0].data(), *d_before = steps_[1].data(), *dz = steps_[2].data();
    double *hd = steps_[3].data(), *hd_before = steps_[4].data(), *hz = steps_[5].data();
    T *z = points_[0].data(), *spare = points_[1].data();
    const T* best = x;
    for (double* const zero : {d, d_before, hd, hd_before}) std::fill_n(zero, size, 0.0);

    times_h_.pack(h, threads);
    double L = largest_eigenvalue(h, vector_.data(), threads), momentum = 1, first_residual = -1;
    double share = 0;  // of the step before: Y = X + share (X − X_before)
    for (int k = 0; k < loop.iterations; ++k) {
      const bool plain = share == 0;
      const T tau = static_cast<T>(1 / L);
      const auto step = [=](Index first, Index last, int) {
        for (Index i = first * columns; i < last * columns; ++i) {
          const double dy = d[i] + share * (d[i] - d_before[i]);
          const double hy = hd[i] + share * (hd[i] - hd_before[i]);
          z[i] = static_cast<T>(x[i] + dy - (hy - right[i]) / L);
        }
      };
      if (!by_row) {
        parallel_blocks(rows, block, threads, step);
        regularizer.prox(rows, columns, z, tau, z);
      }
      const auto judge = [=, this, &regularizer](Index first, Index last, int thread) {
        const Index at = first * columns, count = (last - first) * columns;
        if (by_row) {
          step(first, last, thread);
          regularizer.prox(last - first, columns, z + at, tau, z + at);
        }
        for (Index i = at; i < at + count; ++i) dz[i] = static_cast<double>(z[i]) - x[i];
        times_h_(first, last, dz, hz, thread);
        const auto of_entries = sums<3>(count, [=](Index entry) {
          const Index i = at + entry;
          const double dy = d[i] + share * (d[i] - d_before[i]), change = dz[i] - d[i];
          return std::array{change * (0.5 * (hd[i] + hz[i]) - right[i]), square(dz[i] - dy),
                            (dy - dz[i]) * change};
        });
        const double rest =
            by_row ? regularizer.difference(last - first, columns, z + at, best + at) : 0;
        return std::array{of_entries[0], of_entries[1], of_entries[2], rest};
      };
      auto [smooth, moved, against, rest] =
          parallel_sums<4>(rows, block, threads, sums_.data(), judge);
      if (!by_row) rest = regularizer.difference(rows, columns, z, best);
      if (!(smooth + rest <= 0)) {
        if (plain) {
          constexpr double few = 8 * std::numeric_limits<double>::epsilon();
          if (!(smooth + rest > few * (std::abs(smooth) + std::abs(rest)))) break;
          L *= 2;  // the eigenvalue was an estimate from below
        }
        share = 0;
        momentum = 1;
        continue;
      }
      const double residual = L * std::sqrt(moved);
      if (first_residual < 0) first_residual = residual;
      if (against > 0) momentum = 1;
      const double next = (1 + std::sqrt(1 + 4 * momentum * momentum)) / 2;
      share = (momentum - 1) / next;
      momentum = next;
      std::swap(d, d_before), std::swap(d, dz);
      std::swap(hd, hd_before), std::swap(hd, hz);
      best = z;
      std::swap(z, spare);
      if (residual <= loop.tolerance * first_residual) break;
    }
    if (best != x) std::copy_n(best, size, x);
    return sum(size, [=](Index i) { return d[i] * (right[i] - 0.5 * hd[i]); });
  }

 private:
  static constexpr Index block = SymmetricProduct::block;  // rows

  SymmetricProduct times_h_;
  std::array<Buffer<double>, 6> steps_;
  std::array<Buffer<T>, 2> points_;
  Buffer<double> sums_, vector_;
};

}  // namespace amcore
