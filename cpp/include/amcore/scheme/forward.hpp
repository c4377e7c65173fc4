// The forward pass: U_i = W_i V_{i−1} + b_i1ᵀ,  V_i = σ_i(U_i) [+ V_{i−1}],  V_0 = X.
#pragma once

#include <array>

#include "amcore/linalg/gram.hpp"
#include "amcore/linalg/packed_weights.hpp"
#include "amcore/scheme/scheme.hpp"

namespace amcore {

// out (out × t) ← W v + b1ᵀ with W packed. Zeros of v are made use of: it may be the input.
template <class T> void affine(const Layer<T>& layer, Index t, const T* packed, const T* v, T* out,
                               const Panels<T>& panels) {
  pack_right_sparse(layer.in, t, v, panels.sparse());
  multiply(layer.out, t, layer.in, packed, panels.sparse(),
           Destination<T>{out, layer.out, Update::assign, nullptr, layer.b});
}

// One layer for the samples of a tile, into those of its U and V that there are.
template <class T> void forward_tile(const Layer<T>& layer, Tile tile, const T* previous,
                                     const T* packed, const Panels<T>& panels) {
  const T* const x = previous + tile.begin * layer.in;
  const Index size = tile.size * layer.out;
  T* const v = layer.V ? layer.V + tile.begin * layer.out : nullptr;
  T* const u = layer.U ? layer.U + tile.begin * layer.out : v;
  affine(layer, tile.size, packed, x, u, panels);
  if (!v) return;
  layer.activation->value(size, u, v);
  if (layer.skip)
    for (Index i = 0; i < size; ++i) v[i] += x[i];
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
