// Sums over the samples of a batch, of what a BatchPass has left: R_i V̄_{i−1}ᵀ, and of the layers
// above the first V̄_{i−1} V̄_{i−1}ᵀ.
#pragma once

#include "amcore/pass/batch.hpp"

namespace amcore {

// Rows of one layer's matrix, which one thread works on at a time.
struct LayerRows {
  static constexpr Index block = 32;  // the rows of a left panel or a multiple of them
  std::size_t layer;
  Index first, last;

  static void split(std::size_t layer, Index rows, std::vector<LayerRows>& pieces) {
    for (Index first = 0; first < rows; first += block)
      pieces.push_back({layer, first, std::min(rows, first + block)});
  }
};

template <class T> class BatchSums {
 public:
  BatchSums(const BatchPass<T>& pass, int threads) : pass_(pass), threads_(threads) {
    const auto& layers = pass.layers();
    for (std::size_t i = 0; i < layers.size(); ++i) {
      LayerRows::split(i, layers[i].out, weight_rows_);
      cross_.emplace_back(layers[i].out * layers[i].in);
      gram_.emplace_back(i > 0 ? layers[i].in * layers[i].in : 0);
      if (i > 0) LayerRows::split(i, layers[i].in, gram_rows_);
    }
  }

  // Rows of the weights of all layers.
  const std::vector<LayerRows>& weight_rows() const { return weight_rows_; }
  // Column-major.
  T* cross(std::size_t i) const { return cross_[i].data(); }
  T* gram(std::size_t i) const { return gram_[i].data(); }

  // Of a batch of so many samples; `update`: assign or add.
  void operator()(Index samples, bool grams, Update update = Update::assign) const {
    const auto crosses = static_cast<Index>(weight_rows_.size());
    const Index pieces = crosses + (grams ? static_cast<Index>(gram_rows_.size()) : 0);
    parallel_for(pieces, threads_, [&](Index piece, int) {
      if (piece < crosses) {
        const auto [i, first, last] = weight_rows_[static_cast<std::size_t>(piece)];
        pass_.cross(i, samples, first, last, update, cross(i));
      } else {
        const auto [i, first, last] = gram_rows_[static_cast<std::size_t>(piece - crosses)];
        pass_.gram(i, samples, first, last, gram(i));
      }
    });
  }

 private:
  const BatchPass<T>& pass_;
  const int threads_;
  std::vector<LayerRows> weight_rows_, gram_rows_;
  std::vector<Buffer<T>> cross_, gram_;
};

}  // namespace amcore
