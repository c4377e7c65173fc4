// What bounds ½(σ(z) − t)² by a parabola (block/majorized.hpp): h ≥ sup |σ'² + (σ − t)σ''|.
#pragma once

#include <cmath>
#include <limits>

namespace amcore {

// Least upper bounds of |σ|, |σ'| and |σ''|; infinite where there is none.
struct Bounds {
  static constexpr double none = std::numeric_limits<double>::infinity();
  double value = none, slope = none, curvature = none;
};

// h = base + slope · max |t − center|
struct Majorizer {
  double base, slope, center;
  double operator()(double distance) const { return base + slope * distance; }

  // sup|σ'|² + (sup|σ| + max |t|) sup|σ''|. Zeng, Lin, Yao, Zhou (JMLR 22, 2021), local linear
  // approximation.
  static Majorizer published(const Bounds& sup) {
    const double bend = sup.curvature > 0 ? sup.value * sup.curvature : 0;
    return {sup.slope * sup.slope + bend, sup.curvature, 0};
  }
  // The same, or where there is none an h to begin with and to double at need: that of the pieces
  // of a piecewise linear σ.
  static Majorizer trial(const Bounds& sup) {
    const Majorizer known = published(sup);
    if (std::isfinite(known.base) && std::isfinite(known.slope)) return known;
    return {std::isfinite(sup.slope) ? sup.slope * sup.slope : 1, 0, 0};
  }
};

}  // namespace amcore
