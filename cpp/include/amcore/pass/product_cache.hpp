// The products P_i = W_i V_{i−1} + b_i1ᵀ of all samples, kept from where a sweep ends with them to
// where the next one begins with them. They are as good as computed again, bit by bit: the arrays
// that they were taken of belong to the caller, who may change them, so that a product counts only
// while the fingerprints of both are what they were.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "amcore/pass/task.hpp"

namespace amcore {

// A number of the bits of an array; arrays that differ have different ones but for one chance in
// 2³². Words go round 64 lanes, each a chain of invertible steps (a multiply-and-rotate hash).
template <class T> std::uint64_t fingerprint(Index n, const T* x) {
  typedef std::uint32_t Vector __attribute__((vector_size(64)));
  constexpr Index vectors = 4, width = 16,
                  step = vectors * static_cast<Index>(sizeof(Vector) / sizeof(T));
  constexpr std::uint32_t odd = 0x9E3779B1u, other = 0x85EBCA77u;
  Vector lane[vectors], word[vectors] = {};
  for (Index l = 0; l < vectors * width; ++l)
    lane[l / width][l % width] = odd * static_cast<std::uint32_t>(l + 1);
  for (Index i = 0; i < n; i += step) {
    if (i + step <= n) {
      std::memcpy(word, x + i, sizeof(word));
    } else {
      std::memset(word, 0, sizeof(word));
      std::memcpy(word, x + i, static_cast<std::size_t>(n - i) * sizeof(T));
    }
#pragma GCC unroll 4
    for (Index v = 0; v < vectors; ++v) {
      const Vector mixed = lane[v] + word[v] * other;
      lane[v] = (mixed << 13 | mixed >> 19) * odd;
    }
  }
  auto total = static_cast<std::uint64_t>(n);
  for (Index l = 0; l < vectors * width; ++l)
    total = std::rotl(total ^ lane[l / width][l % width], 29) * 0x9E3779B97F4A7C15u;
  return total;
}

template <class T> class ProductCache {
 public:
  // One array per layer where `keep`, else none.
  ProductCache(const Task<T>& task, bool keep) : task_(task), weights_(task.depth(), 0) {
    if (!keep) return;
    for (const Layer<T>& l : task.layers) {
      products_.emplace_back(l.out, task.samples, task.allocate);
      tiles_.emplace_back(task.plan.tiles());
      std::fill_n(tiles_.back().data(), task.plan.tiles(), 0);
    }
  }

  // Before products with the weights of layer i, as they are, are taken or asked for.
  void begin(std::size_t i) {
    if (products_.empty()) return;
    const Layer<T>& l = task_.layers[i];
    weights_[i] = fingerprint(l.out * l.in, l.W);
    if (l.b) weights_[i] = std::rotl(weights_[i], 17) ^ fingerprint(l.out, l.b);
  }

  // P_i of a tile, whose input is v: as it was taken of these weights and this v, else from them,
  // packed, into its place, or into `scratch` where there is none.
  const T* get(std::size_t i, const Tile& tile, const T* packed, const T* v, T* scratch,
               const Panels<T>& panels) {
    const Layer<T>& l = task_.layers[i];
    if (products_.empty()) {
      affine(l, tile.size, packed, v, scratch, panels);
      return scratch;
    }
    T* const p = of(i, tile);
    const std::uint64_t asked = identity(i, tile, v);
    std::uint64_t& kept = tiles_[i].data()[tile.number];
    if (kept != asked) {
      affine(l, tile.size, packed, v, p, panels);
      kept = asked;
    }
    return p;
  }

  // The same in steps, for a tile where something else may be written that is not to be found: its
  // place, null if there is none.
  T* of(std::size_t i, const Tile& tile) const {
    return products_.empty() ? nullptr : products_[i].of(tile);
  }
  void forget(std::size_t i, const Tile& tile) {
    if (!products_.empty()) tiles_[i].data()[tile.number] = 0;
  }
  void keep(std::size_t i, const Tile& tile, const T* v) {
    if (!products_.empty()) tiles_[i].data()[tile.number] = identity(i, tile, v);
  }

 private:
  // The input of the first layer never changes. 0 is for what was never written.
  std::uint64_t identity(std::size_t i, const Tile& tile, const T* v) const {
    return (weights_[i] ^ (i > 0 ? fingerprint(tile.size * task_.layers[i].in, v) : 0)) | 1;
  }

  const Task<T>& task_;
  std::vector<SampleArray<T>> products_;
  std::vector<Buffer<std::uint64_t>> tiles_;  // by tile, what its product was taken of
  std::vector<std::uint64_t> weights_;        // by layer
};

}  // namespace amcore
