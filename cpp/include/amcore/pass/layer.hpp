// A layer of the network with its variables, and the affine map with its weights.
#pragma once

#include "amcore/activation/activation.hpp"
#include "amcore/linalg/gram.hpp"
#include "amcore/linalg/packed_weights.hpp"
#include "amcore/regularizer/regularizer.hpp"
#include "amcore/tile.hpp"

namespace amcore {

// Arrays belong to the caller and are updated in place; those that a scheme does not have are null.
template <class T> struct Layer {
  Index in, out;
  bool skip;  // V couples to V_{i−1} + σ(U)
  const Activation<T>* activation;
  const Regularizer<T>* regularizer;  // of W
  T* W = nullptr;                     // out × in, row-major
  T* b = nullptr;                     // out
  T* U = nullptr;                     // out × n, as all below
  T* V = nullptr;
  T* Lambda = nullptr;
  T* W_old = nullptr;  // of the sweep before
  T* b_old = nullptr;
  T* V_old = nullptr;
  T* G = nullptr;           // symmetric, of V_{i−1} with a 1 where there are biases
  T* v = nullptr;           // one number
  T* components = nullptr;  // rank × in, row-major
  T* center = nullptr;      // in
  Index rank = 0;
  const Regularizer<T>* activation_regularizer = nullptr;  // of V; null: none

  // The samples of a tile, of an array out × n.
  T* of(T* array, Tile tile) const { return array + tile.begin * out; }

  // Does V take proximal gradient steps, if it is hidden?
  bool is_inexact() const { return activation_regularizer && !activation_regularizer->is_ridge(); }
  // The λ of s = λ/2 ‖·‖².
  double ridge_v() const {
    return activation_regularizer && !is_inexact() ? activation_regularizer->ridge() : 0;
  }
};

// out (out × t) ← W v + b1ᵀ with W packed. Zeros of v are made use of: it may be the input.
template <class T> void affine(const Layer<T>& layer, Index t, const T* packed, const T* v, T* out,
                               const Panels<T>& panels) {
  pack_right_sparse(layer.in, t, v, panels.sparse());
  multiply(layer.out, t, layer.in, packed, panels.sparse(),
           Destination<T>{out, layer.out, Update::assign, nullptr, layer.b});
}

}  // namespace amcore
