// For every sample of a tile, a column x of an array,
//   argmin_x s(x) + g(x),   g smooth and convex,
// by accelerated proximal gradient steps (Beck, Teboulle 2009) with restarts (O'Donoghue, Candès
// 2015), as in proximal_gradient.hpp. A sample has its own momentum, its own step 1/L (L doubled
// where a plain step raises the objective) and its own end: it does not matter which samples share
// a tile. No sample's objective rises.
//
// The smooth part is an object with
//   gradient(y, out)         ∇g at all columns of y
//   compare(z, x, step)      prepares what follows for all columns, step = z − x
//   rise(j)                  g(z) − g(x) of sample j, accurate relative to the step
//   accept(j, share)         x ← z, y ← z + share · step
//   restart(j)               y ← x
#pragma once

#include "amcore/linalg/proximal_gradient.hpp"

namespace amcore {

// A change of the smooth part, and the size of the terms that it is the sum of.
struct Rise {
  double value, size;
};

template <class T> class SampleProximalGradient {
 public:
  SampleProximalGradient() = default;
  SampleProximalGradient(Index width, Index samples)
      : y_(width * samples), z_(width * samples), step_(width * samples), progress_(samples) {}

  // x: d × t, feasible on entry; L: a first guess of the Lipschitz constant of ∇g.
  template <class Smooth> void solve(Index d, Index t, Smooth&& smooth, double L,
                                     const Regularizer<T>& s, T* x, const InnerLoop& loop) const {
    T *const y = y_.data(), *const z = z_.data(), *const step = step_.data();
    std::copy_n(x, d * t, y);
    std::fill_n(progress_.data(), t, Progress{L, 1, -1, 0, true, true});
    Index active = t;
    for (int k = 0; k < loop.iterations && active > 0; ++k) {
      smooth.gradient(y, z);
      for (Index j = 0; j < t; ++j) {
        const Progress& p = progress_.data()[j];
        T *const zj = z + j * d, *const xj = x + j * d;
        if (p.active) {
          const T curve = static_cast<T>(p.L);
          for (Index i = 0; i < d; ++i) zj[i] = y[j * d + i] - zj[i] / curve;
          s.prox(1, d, zj, static_cast<T>(1 / p.L), zj);
        } else {
          std::copy_n(xj, d, zj);
        }
      }
      for (Index i = 0; i < d * t; ++i) step[i] = z[i] - x[i];
      smooth.compare(z, x, step);
      for (Index j = 0; j < t; ++j)
        if (progress_.data()[j].active)
          active -= advance(d, j, smooth, s, x + j * d, loop.tolerance) ? 0 : 1;
    }
  }

  // How much the objective of sample j fell.
  double fall(Index j) const { return progress_.data()[j].fall; }

 private:
  struct Progress {
    double L, momentum, first, fall;
    bool plain, active;  // is y = x? does the sample go on?
  };

  // Judges z of sample j; returns whether the sample goes on.
  template <class Smooth> bool advance(Index d, Index j, Smooth& smooth, const Regularizer<T>& s,
                                       T* x, double tolerance) const {
    Progress& p = progress_.data()[j];
    T* const y = y_.data() + j * d;
    const T *const z = z_.data() + j * d, *const step = step_.data() + j * d;
    const Rise rise = smooth.rise(j);
    const double rest = s.difference(1, d, z, x);
    const double total = rise.value + rest;
    if (!(total <= 0)) {
      if (p.plain) {
        constexpr double few = 8.0 * std::numeric_limits<T>::epsilon();
        p.active = !std::isfinite(total) || total > few * (rise.size + std::abs(rest));
        p.L *= 2;
      }
      std::copy_n(x, d, y);
      smooth.restart(j);
      p.momentum = 1;
      p.plain = true;
      return p.active;
    }
    p.fall -= total;
    const double moved = sum(d, [&](Index i) { return square(static_cast<double>(z[i]) - y[i]); });
    const double residual = p.L * std::sqrt(moved);
    if (p.first < 0) p.first = residual;
    const double against =
        sum(d, [&](Index i) { return (static_cast<double>(y[i]) - z[i]) * step[i]; });
    if (against > 0) p.momentum = 1;
    const double next = (1 + std::sqrt(1 + 4 * p.momentum * p.momentum)) / 2;
    const double share = (p.momentum - 1) / next;
    p.momentum = next;
    p.plain = share == 0;
    for (Index i = 0; i < d; ++i) {
      y[i] = z[i] + static_cast<T>(share) * step[i];
      x[i] = z[i];
    }
    smooth.accept(j, static_cast<T>(share));
    p.active = residual > tolerance * p.first;
    return p.active;
  }

  Buffer<T> y_, z_, step_;
  Buffer<Progress> progress_;
};

}  // namespace amcore
