// Majorised least squares: where σ stands around the block variable, with Z = W V + b1ᵀ at the
// current point, E = (σ(Z) − T)⊙σ'(Z) and h ≥ sup |d²/dz² ½(σ(z) − t)²|,
//   ½‖σ(·) − T‖² ≤ ½‖σ(Z) − T‖² − ‖E‖²/(2h) + h/2‖· − (Z − E/h)‖²,
// so that the weight block and the hidden block at the target Z − E/h with penalty h γ decrease
// γ/2‖σ(W V + b1ᵀ) − T‖² and what else they minimise.
// Zeng, Lin, Yao, Zhou (JMLR 22, 2021), local linear approximation.
#pragma once

#include "amcore/activation/activation.hpp"
#include "amcore/check.hpp"

namespace amcore {

// h = base + slope · max |t − center|
struct Majorizer {
  double base, slope, center;
  double operator()(double distance) const { return base + slope * distance; }
};

// out ← Z − (σ(Z) − T)⊙σ'(Z)/h;  value ← σ(Z), slope ← σ'(Z), the right derivative at a kink.
template <class T> void majorized_target(Index n, const Activation<T>& activation, const T* z,
                                         const T* t, double h, T* value, T* slope, T* out) {
  activation.value(n, z, value);
  activation.derivative(n, z, Side::right, slope);
  const T share = static_cast<T>(1 / h);
  for (Index i = 0; i < n; ++i) out[i] = z[i] - share * (value[i] - t[i]) * slope[i];
}

// max |t − center|
template <class T> double distance_from(Index n, const T* t, double center) {
  double most = 0;
  for (Index i = 0; i < n; ++i) most = std::max(most, std::abs(static_cast<double>(t[i]) - center));
  return most;
}

}  // namespace amcore
