// Whitened inputs x̃ = T (x − m), T (r × d, its rows orthogonal) from the eigenvectors of the
// inputs' covariance, and what the first layer's weights are for them:
//   W x + b = W̃ x̃ + b̃   with   W̃ = W Tᵀ diag(1/‖T_j‖²),  b̃ = b + W m,
// exactly where the rows of W are combinations of those of T; others are projected on these.
#pragma once

#include <vector>

#include "amcore/linalg/packed_weights.hpp"
#include "amcore/sums.hpp"

namespace amcore {

template <class T> class Whitening {
 public:
  // components: T, row-major; `outputs` of the first layer; `bias`: whether it has one.
  Whitening(Index inputs, Index rank, Index outputs, bool bias, const T* components,
            const T* center, int threads)
      : inputs_(inputs),
        rank_(rank),
        outputs_(outputs),
        border_(bias),
        components_(components),
        center_(center),
        threads_(threads),
        spread_(rank),
        to_(right_panels_size<T>(inputs, rank)),
        from_(right_panels_size<T>(rank, inputs)) {
    for (Index j = 0; j < rank; ++j)
      spread_.data()[j] = static_cast<T>(1 / sum_of_squares(inputs, components + j * inputs));
    pack_right(inputs, rank, components, to_.data());
    pack_right_transposed(rank, inputs, components, inputs, from_.data(), rank);
    for (int thread = 0; thread < team_of(threads, blocks_of(outputs, block)); ++thread) {
      panels_.emplace_back(left_panels_size<T>(block, std::max(inputs, rank)));
      rows_.emplace_back(block * inputs);
    }
  }

  Index width() const { return rank_ + border_; }
  // ‖T_j‖⁻²: the eigenvalue with what was added to it.
  const T* spread() const { return spread_.data(); }

  // [x̃, 1] of n samples, or x̃ without bias; once.
  void inputs(Index n, const T* X, T* out) const {
    constexpr Index tile = 96;
    Buffer<T> components(left_panels_size<T>(rank_, inputs_));
    pack_left_in_parallel(rank_, inputs_, components_, inputs_, Index(1), components.data(),
                          threads_);
    struct Scratch {
      Buffer<T> centered, panels;
    };
    std::vector<Scratch> scratch;
    for (int thread = 0; thread < team_of(threads_, blocks_of(n, tile)); ++thread)
      scratch.push_back(
          {Buffer<T>(inputs_ * tile), Buffer<T>(right_panels_size<T>(inputs_, tile))});
    parallel_blocks(n, tile, threads_, [&](Index first, Index last, int thread) {
      const auto& [centered, panels] = scratch[static_cast<std::size_t>(thread)];
      T* const to = out + first * width();
      for (Index j = first; j < last; ++j)
        for (Index i = 0; i < inputs_; ++i)
          centered.data()[(j - first) * inputs_ + i] = X[j * inputs_ + i] - center_[i];
      pack_right(inputs_, last - first, centered.data(), panels.data());
      multiply(rank_, last - first, inputs_, components.data(), panels.data(),
               Destination<T>{to, width()});
      if (border_)
        for (Index j = 0; j < last - first; ++j) to[j * width() + rank_] = T(1);
    });
  }

  // [W, b] (row-major) to [W̃, b̃] (column-major).
  void to(const T* weights, T* whitened) const {
    const Index row = inputs_ + border_;
    parallel_blocks(outputs_, block, threads_, [&](Index first, Index last, int thread) {
      T* const panels = panels_[static_cast<std::size_t>(thread)].data();
      const Index rows = last - first;
      const T* const W = weights + first * row;
      T* const out = whitened + first;
      pack_left(rows, inputs_, W, row, Index(1), panels);
      multiply(rows, rank_, inputs_, panels, to_.data(), Destination<T>{out, outputs_});
      for (Index j = 0; j < rank_; ++j)
        for (Index i = 0; i < rows; ++i) out[j * outputs_ + i] *= spread_.data()[j];
      if (border_)
        for (Index i = 0; i < rows; ++i)
          out[rank_ * outputs_ + i] = W[i * row + inputs_] + at_center(W + i * row);
    });
  }

  // And back.
  void from(const T* whitened, T* weights) const {
    const Index row = inputs_ + border_;
    parallel_blocks(outputs_, block, threads_, [&](Index first, Index last, int thread) {
      T* const panels = panels_[static_cast<std::size_t>(thread)].data();
      T* const product = rows_[static_cast<std::size_t>(thread)].data();
      const Index rows = last - first;
      T* const W = weights + first * row;
      pack_left(rows, rank_, whitened + first, Index(1), outputs_, panels);
      multiply(rows, inputs_, rank_, panels, from_.data(), Destination<T>{product, rows});
      for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < inputs_; ++j) W[i * row + j] = product[j * rows + i];
        if (border_)
          W[i * row + inputs_] = whitened[rank_ * outputs_ + first + i] - at_center(W + i * row);
      }
    });
  }

 private:
  static constexpr Index block = 48;  // outputs

  T at_center(const T* row) const {
    return static_cast<T>(sum(inputs_, [&](Index i) { return row[i] * center_[i]; }));
  }

  Index inputs_, rank_, outputs_, border_;
  const T *components_, *center_;
  int threads_;
  Buffer<T> spread_, to_, from_;
  std::vector<Buffer<T>> panels_, rows_;  // of one thread
};

}  // namespace amcore
