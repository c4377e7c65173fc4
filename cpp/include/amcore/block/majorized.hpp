// Majorised least squares: where σ stands around the block variable, with Z = W V + b1ᵀ at the
// current point, E = (σ(Z) − T)⊙σ'(Z) and h ≥ sup |d²/dz² ½(σ(z) − t)²|,
//   ½‖σ(·) − T‖² ≤ ½‖σ(Z) − T‖² − ‖E‖²/(2h) + h/2‖· − (Z − E/h)‖²,
// so that the weight block and the hidden block at the target Z − E/h with penalty h γ decrease
// γ/2‖σ(W V + b1ᵀ) − T‖² and what else they minimise.
// Zeng, Lin, Yao, Zhou (JMLR 22, 2021), local linear approximation.
#pragma once

#include <algorithm>

#include "amcore/activation/activation.hpp"

namespace amcore {

// out ← Z − (σ(Z) − T)⊙σ'(Z)/h;  value ← σ(Z), slope ← σ'(Z), the right derivative at a kink.
template <class T> void majorized_target(Index n, const Activation<T>& activation, const T* z,
                                         const T* t, double h, T* value, T* slope, T* out) {
  activation.value_and_derivative(n, z, value, slope);
  const T share = static_cast<T>(1 / h);
  for (Index i = 0; i < n; ++i) out[i] = z[i] - share * (value[i] - t[i]) * slope[i];
}

// For every entry i
//   ½(σ(z) − t)² + E step + h/2 step² − ½(σ(z + step) − t)²,
// what the model is above the truth after a step, not negative where h majorises; `value` and
// `slope` at z. With Δ = σ(z + step) − σ(z) that is
//   h/2 step² − ½Δ² − (σ(z) − t)(Δ − σ'(z) step),
// where both terms of the last difference take the step as rounded into z + step, so that their
// error is one relative to the step. moved ← z + step; change: scratch.
template <class T> auto majorized_gaps(Index n, const Activation<T>& activation, const T* z,
                                       const T* value, const T* slope, const T* t, const T* step,
                                       double h, T* moved, T* change) {
  for (Index i = 0; i < n; ++i) moved[i] = z[i] + step[i];
  activation.difference(n, moved, z, change);
  return [=](Index i) {
    const double s = step[i], d = change[i];
    const double bend = d - static_cast<double>(slope[i]) * (moved[i] - z[i]);
    return h / 2 * s * s - d * d / 2 - (static_cast<double>(value[i]) - t[i]) * bend;
  };
}

// max |t − center|; what is not a number does not count.
template <class T> double distance_from(Index n, const T* t, double center) {
  const ConstArrayMap<T> all(t, n);
  const double above = all.template maxCoeff<Eigen::PropagateNumbers>() - center,
               below = center - all.template minCoeff<Eigen::PropagateNumbers>();
  return std::max({0.0, above, below});
}

}  // namespace amcore
