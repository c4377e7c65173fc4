// The forward pass: U_i = W_i V_{i−1} + b_i1ᵀ,  V_i = σ_i(U_i) [+ V_{i−1}],  V_0 = X.
#pragma once

#include <array>
#include <cmath>

#include "amcore/check.hpp"
#include "amcore/pass/pass.hpp"

namespace amcore {

// One layer for the samples of a tile, into those of its U and V that there are; where s(V) is
// infinite, V is moved into the set of s.
template <class T> void forward_tile(const Layer<T>& layer, Tile tile, const T* previous,
                                     const T* packed, const Panels<T>& panels) {
  const T* const x = previous + tile.begin * layer.in;
  const Index size = tile.size * layer.out;
  T* const v = layer.V ? layer.of(layer.V, tile) : nullptr;
  T* const u = layer.U ? layer.of(layer.U, tile) : v;
  affine(layer, tile.size, packed, x, u, panels);
  if (!v) return;
  layer.activation->value(size, u, v);
  if (layer.skip)
    for (Index i = 0; i < size; ++i) v[i] += x[i];
  const Regularizer<T>* const s = layer.activation_regularizer;
  if (s && std::isinf(s->value(tile.size, layer.out, v))) s->prox(tile.size, layer.out, v, T(1), v);
}

// The variables of all samples. packed(i): the weights of layer i, packed.
template <class T, std::size_t Sums, class Packed>
void forward_state(const Task<T>& task, Pass<T, Sums>& pass, Packed&& packed) {
  for (std::size_t i = 0; i < task.depth(); ++i) {
    const Layer<T>& layer = task.layers[i];
    const T* const weights = packed(i);
    pass(i, [&](Index, Tile tile, auto&, const Workspace<T>& array) {
      forward_tile(layer, tile, task.below(i), weights, array.panels);
    });
    const Index size = layer.out * task.samples;
    if ((layer.U && !all_finite(size, layer.U)) || (layer.V && !all_finite(size, layer.V)))
      throw NumericalError("the forward pass is not finite", static_cast<int>(i) + 1, "V");
  }
}

// Outputs alone: out ← V_N for n samples X, a tile through all layers at a time.
template <class T>
void forward_pass(const std::vector<Layer<T>>& layers, Index n, const T* X, T* out, int threads) {
  Index width = 0;
  std::vector<Buffer<T>> packed;
  for (const Layer<T>& layer : layers) {
    width = std::max({width, layer.in, layer.out});
    pack_left_in_parallel(layer.out, layer.in, layer.W, layer.in, Index(1),
                          packed.emplace_back(left_panels_size<T>(layer.out, layer.in)).data(),
                          threads);
  }
  const auto bytes = static_cast<Index>(sizeof(T));
  const TilePlan plan(n, width, bytes, 0, n * width * bytes);
  const int team = team_of(threads, plan.chunks());
  std::vector<Panels<T>> panels;
  std::vector<std::array<Buffer<T>, 3>> scratch;  // preactivation; two activations
  for (int thread = 0; thread < team; ++thread) {
    panels.emplace_back(width, plan.tile());
    scratch.push_back({Buffer<T>(width * plan.tile()), Buffer<T>(width * plan.tile()),
                       Buffer<T>(width * plan.tile())});
  }
  parallel_for(plan.chunks(), team, [&](Index chunk, int thread) {
    const auto& buffers = scratch[static_cast<std::size_t>(thread)];
    T* const u = buffers[0].data();
    plan.for_each_tile(chunk, [&](Tile tile) {
      const T* v = X + tile.begin * layers[0].in;
      for (std::size_t i = 0; i < layers.size(); ++i) {
        const Layer<T>& layer = layers[i];
        const Index size = tile.size * layer.out;
        T* const next =
            i + 1 == layers.size() ? out + tile.begin * layer.out : buffers[1 + i % 2].data();
        affine(layer, tile.size, packed[i].data(), v, u, panels[static_cast<std::size_t>(thread)]);
        layer.activation->value(size, u, next);
        if (layer.skip)
          for (Index k = 0; k < size; ++k) next[k] += v[k];
        v = next;
      }
    });
  });
}

}  // namespace amcore
