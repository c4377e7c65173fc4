// What a block update did.
#pragma once

#include "amcore/check.hpp"

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

}  // namespace amcore
