// What a block update did.
#pragma once

#include <array>
#include <limits>

#include "amcore/sums.hpp"

namespace amcore {

struct BlockStep {
  double squared_step = 0, decrease = 0;
};

// From `old` to v, of weight/2 ‖· − S‖², accurate relative to the step.
template <class T>
BlockStep quadratic_step(Index n, double weight, const T* s, const T* old, const T* v) {
  const auto [squared, fall] = sums<2>(n, [=](Index i) {
    const double from = old[i], to = v[i], target = s[i], moved = to - from;
    return std::array{square(moved), -moved * ((from - target) + (to - target))};
  });
  return {squared, weight / 2 * fall};
}

// Is W ΔV as a difference of two products of T as good as W ΔV, but for some thousandths? And ΔW V?
// From the squared step of what moves, and its new value.
template <class T> bool is_long(double squared_step, Index n, const T* x) {
  constexpr double least = 1e3 * std::numeric_limits<T>::epsilon();
  return squared_step > square(least) * sum_of_squares(n, x);
}

}  // namespace amcore
