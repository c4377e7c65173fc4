// Skip connections: V_i couples to [V_{i−1} +] σ_i(U_i), with the term in brackets where layer i
// has one.
#pragma once

#include "amcore/pass/task.hpp"

namespace amcore {

// What σ_i(U_i) is to fit: v [− V_{i−1}] (then in `scratch`).
template <class T>
const T* fitted(const Layer<T>& l, Index size, const T* v, const T* below, T* scratch) {
  if (!l.skip) return v;
  for (Index k = 0; k < size; ++k) scratch[k] = v[k] - below[k];
  return scratch;
}

// s ← [V_{i−1} +] σ_i(U_i) of a slice
template <class T> void fit_target(const Task<T>& task, std::size_t i, Tile slice, T* s) {
  const Layer<T>& l = task.layers[i];
  const Index size = slice.size * l.out;
  l.activation->value(size, l.of(l.U, slice), s);
  if (!l.skip) return;
  const T* const below = task.below(i, slice);
  for (Index k = 0; k < size; ++k) s[k] += below[k];
}

// out ← V_i − σ_i(U_i) of a slice
template <class T> void beyond_activation(const Layer<T>& l, Tile slice, T* out) {
  const T* const v = l.of(l.V, slice);
  l.activation->value(slice.size * l.out, l.of(l.U, slice), out);
  for (Index k = 0; k < slice.size * l.out; ++k) out[k] = v[k] - out[k];
}

// The weight on ‖V_i − S‖², i < N, of all terms that V_i is drawn to S by: γ_i, and γ_{i+1} where
// layer i+1 has a skip connection.
template <class T>
double pull(const Task<T>& task, const std::vector<double>& gamma, std::size_t i) {
  return gamma[i] + (task.layers[i + 1].skip ? gamma[i + 1] : 0);
}

}  // namespace amcore
