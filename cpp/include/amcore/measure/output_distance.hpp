// dist(0, ∂f) of the output.
#pragma once

#include "amcore/block/output.hpp"
#include "amcore/pass/task.hpp"

namespace amcore {

// dist²(0, ∂(c ℓ + s_N)(v) + γ fit) for a tile of V_N; left, right: scratch.
template <class T> double output_distance(const Task<T>& task, Tile tile, const T* v, const T* fit,
                                          double gamma, T* left, T* right) {
  const Layer<T>& l = task.layers.back();
  const T* const y = task.targets(tile);
  if (!l.activation_regularizer)
    return task.loss.squared_distance(l.out, tile.size, v, y, fit, gamma, task.loss_weight);
  return output_distance(l.out, tile.size, task.loss, task.loss_weight, y, v,
                         *l.activation_regularizer, fit, gamma, left, right);
}

}  // namespace amcore
