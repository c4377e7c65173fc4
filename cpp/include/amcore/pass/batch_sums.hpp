// Sums over the samples of a batch, of what a BatchPass has left: R_i V̄_{i−1}ᵀ, and of the layers
// above the first V̄_{i−1} V̄_{i−1}ᵀ. They lie in one piece: processes meet once for all of them.
#pragma once

#include "amcore/collective.hpp"
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
  BatchSums(const BatchPass<T>& pass, Collective& collective, int threads)
      : pass_(pass), collective_(collective), threads_(threads) {
    const auto& layers = pass.layers();
    Index size = 0;
    const auto place = [&size](std::vector<Index>& starts, Index entries) {
      constexpr Index line = 16;
      starts.push_back(size);
      size += round_up(entries, line);
    };
    for (std::size_t i = 0; i < layers.size(); ++i) {
      LayerRows::split(i, layers[i].out, weight_rows_);
      place(cross_, layers[i].out * layers[i].in);
    }
    crosses_ = size;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (i > 0) LayerRows::split(i, layers[i].in, gram_rows_);
      place(gram_, i > 0 ? layers[i].in * layers[i].in : 0);
    }
    sums_ = Buffer<T>(size);
    std::fill_n(sums_.data(), size, T(0));  // what lies between them is summed too
  }

  // Rows of the weights of all layers.
  const std::vector<LayerRows>& weight_rows() const { return weight_rows_; }
  // Column-major.
  T* cross(std::size_t i) const { return sums_.data() + cross_[i]; }
  T* gram(std::size_t i) const { return sums_.data() + gram_[i]; }

  // Of the so many samples of a batch that are here; `update`: assign or add.
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
  // Over all processes.
  void reduce(bool grams) const { collective_.sum(sums_.data(), grams ? sums_.size() : crosses_); }

 private:
  const BatchPass<T>& pass_;
  Collective& collective_;
  const int threads_;
  std::vector<LayerRows> weight_rows_, gram_rows_;
  std::vector<Index> cross_, gram_;  // where they start
  Index crosses_;                    // entries before the Gram matrices
  Buffer<T> sums_;
};

}  // namespace amcore
