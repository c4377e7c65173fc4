// Updates of V with its regulariser.
#pragma once

#include "amcore/block/hidden.hpp"
#include "amcore/block/output.hpp"
#include "amcore/check.hpp"
#include "amcore/pass/workspace.hpp"

namespace amcore {

// The block for updates of V_i, i < N: s_i(V_i) + pull/2‖V_i − S‖² + ρ/2‖U − b1ᵀ − W_{i+1} V_i‖².
template <class T> void prepare_hidden(const Task<T>& task, std::size_t i, double pull, double rho,
                                       HiddenBlock<T>& block) {
  const Layer<T>&here = task.layers[i], &above = task.layers[i + 1];
  if (here.is_inexact())
    block.prepare_regularized(above.out, above.in, above.W, pull, rho, task.threads);
  else
    block.prepare(above.out, above.in, above.W, pull + here.ridge_v(), rho, static_cast<int>(i) + 1,
                  task.threads);
}

// v ← argmin c ℓ(v, Y) + s_N(v) + γ/2‖v − s‖² + α/2‖v − V_N‖² for a tile; q, other: scratch.
// Returns the block whose values are not finite, else null.
template <class T> const char* update_output(const Task<T>& task, Tile tile, const T* s,
                                             double gamma, double alpha, const InnerLoop& inner,
                                             const Workspace<T>& array, T* q, T* other, T* v) {
  const Layer<T>& l = task.layers.back();
  const Index size = tile.size * l.out;
  const T *const y = task.targets(tile), *const V = l.of(l.V, tile);
  if (l.activation_regularizer) {
    if (!all_finite(size, s)) return "V";  // steps that go nowhere would hide it
    output_update(l.out, tile.size, task.loss, task.loss_weight, y, s, V, gamma, alpha,
                  *l.activation_regularizer, inner, array.steps.loop, q, other, v);
  } else {
    output_update(l.out, tile.size, task.loss, task.loss_weight, y, s, V, gamma, alpha, q, v);
  }
  return all_finite(size, v) ? nullptr : "V";
}

}  // namespace amcore
