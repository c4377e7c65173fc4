// A batch of samples through the network and back: with V̄ = [V, 1] and V̄_0 given,
//   P_i = W̄_i V̄_{i−1},  V_i = [V_{i−1} +] σ_i(P_i)
//   dV_N = −ω ∇ℓ(V_N) or ω (prox(V_N) − V_N),  R_i = dV_i ⊙ σ_i'(P_i)
//   dV_{i−1} = K_iᵀ R_i [+ M_i dV_i]
// in tiles, and after them C_i = R_i V̄_{i−1}ᵀ and the Gram matrices V̄_{i−1} V̄_{i−1}ᵀ by blocks
// of rows, each by one thread over all samples of the batch: there are no partial sums, and no bit
// depends on the number of threads. The tiles leave R and V̄ in panels as those products read them.
#pragma once

#include <cmath>
#include <vector>

#include "amcore/linalg/packed_weights.hpp"
#include "amcore/pass/task.hpp"

namespace amcore {

// Samples of a batch: rows[first], rows[first + 1], …; without `rows` these numbers themselves.
struct Batch {
  const std::uint32_t* rows;
  Index first, size;
  Index operator[](Index j) const { return rows ? rows[first + j] : first + j; }
};

// How far a pass goes: to the loss; to R; to V̄ for Gram matrices too.
enum class Reach { loss, residuals, gram };

// What the outputs and the layers below are pulled to: the prox with 1/ρ, or where that is 0 the
// gradient; M_i, or I.
struct Pull {
  double inverse_rho = 0;
  bool mixed = false;
};

template <class T> class BatchPass {
 public:
  // One layer for the pass: its weights W̄, and where its products over the batch are.
  struct Operands {
    Index in, out;                // in: of V̄_{i−1}
    Index below;                  // width of V_{i−1}
    Buffer<T> W;                  // out × in, column-major
    Buffer<T> packed;             // W̄
    Buffer<T> back;               // K_iᵀ, below × out
    Buffer<T> mixed;              // M_i, below × below
    Buffer<T> left, right, gram;  // panels of R_i; of V̄_{i−1}ᵀ; of ω V̄_{i−1}
  };

  // inputs: V̄_0, `width` entries a sample; targets: Y as the loss takes it; omega: null for ones;
  // `capacity`: samples of the largest batch.
  BatchPass(const Problem<T>& problem, const T* inputs, Index width, const T* targets,
            const T* omega, Index capacity, int threads)
      : layers_(problem.layers),
        X_(problem.X),
        inputs_(inputs),
        targets_(targets),
        omega_(omega),
        loss_(problem.loss),
        border_(problem.layers[0].b != nullptr),
        tile_(std::clamp<Index>(round_up((capacity + 7) / 8, 12), 12, 96)),
        threads_(threads),
        losses_(blocks_of(capacity, tile_)) {
    Index widest = width;
    for (const Layer<T>& layer : layers_) {
      Operands& to = operands_.emplace_back();
      to.in = operands_.size() == 1 ? width : layer.in + border_;
      to.below = layer.in;
      to.out = layer.out;
      to.W = Buffer<T>(to.out * to.in);
      to.packed = Buffer<T>(left_panels_size<T>(to.out, to.in));
      to.left = Buffer<T>(left_panels_size<T>(to.out, capacity));
      to.right = Buffer<T>(right_panels_size<T>(capacity, to.in));
      if (operands_.size() > 1) {
        to.back = Buffer<T>(left_panels_size<T>(to.below, to.out));
        to.gram = Buffer<T>(left_panels_size<T>(to.in, capacity));
      }
      widest = std::max({widest, to.in, to.out + border_});
    }
    for (int thread = 0; thread < team_of(threads, losses_.size()); ++thread) {
      Workspace& w = workspaces_.emplace_back();
      w.panels = Buffer<T>(right_panels_size<T>(widest, tile_));
      for (Buffer<T>* of : {&w.y, &w.dV, &w.R, &w.next}) *of = Buffer<T>(widest * tile_);
      w.V.emplace_back(width * tile_);
      for (const Operands& of : operands_) {
        w.V.emplace_back((of.out + border_) * tile_);
        w.P.emplace_back(of.out * tile_);
      }
    }
  }

  std::vector<Operands>& layers() { return operands_; }
  const std::vector<Operands>& layers() const { return operands_; }

  // After a change of W̄: rows first … last − 1 of it, first at the start of a panel. The
  // transposed panels are for K_i = W_i.
  void pack_rows(std::size_t i, Index first, Index last) {
    Operands& of = operands_[i];
    const Index rows = last - first;
    const T* const from = of.W.data() + first;
    pack_left(rows, of.in, from, Index(1), of.out, of.packed.data() + first * of.in);
    if (i > 0)
      pack_left(of.below, rows, from, of.out, Index(1), of.back.data() + first * Kernel<T>::rows,
                of.out);
  }

  // Σ ω ℓ of the batch, in a fixed order; the panels as far as `reach` needs them.
  double operator()(const Batch& batch, Reach reach, const Pull& pull = {}) {
    const Index count = blocks_of(batch.size, tile_);
    parallel_for(count, threads_, [&](Index piece, int thread) {
      const Index first = piece * tile_;
      const Tile tile{first, std::min(tile_, batch.size - first), piece};
      losses_.data()[piece] =
          run(batch, tile, reach, pull, workspaces_[static_cast<std::size_t>(thread)]);
    });
    double total = 0;
    for (Index piece = 0; piece < count; ++piece) total += losses_.data()[piece];
    return total;
  }

  // Rows first … last − 1, first at the start of a panel, of R_i V̄_{i−1}ᵀ of the last batch; out:
  // the whole matrix, column-major.
  void cross(std::size_t i, Index samples, Index first, Index last, Update update, T* out) const {
    const Operands& of = operands_[i];
    multiply(last - first, of.in, samples, of.left.data() + first * samples, of.right.data(),
             Destination<T>{out + first, of.out, update});
  }
  // The same of Σ ω V̄_{i−1} V̄_{i−1}ᵀ.
  void gram(std::size_t i, Index samples, Index first, Index last, T* out) const {
    const Operands& of = operands_[i];
    multiply(last - first, of.in, samples, of.gram.data() + first * samples, of.right.data(),
             Destination<T>{out + first, of.in});
  }

 private:
  // Of one thread: a tile's arrays.
  struct Workspace {
    Buffer<T> panels, y, dV, R, next;
    std::vector<Buffer<T>> V, P;  // V̄_0, …, V̄_N; P_1, …, P_N
  };

  double run(const Batch& batch, const Tile& tile, Reach reach, const Pull& pull, Workspace& w) {
    const Index t = tile.size;
    for (Index j = 0; j < t; ++j) {
      const Operands& first = operands_[0];
      std::copy_n(inputs_ + batch[tile.begin + j] * first.in, first.in,
                  w.V[0].data() + j * first.in);
    }
    for (std::size_t i = 0; i < operands_.size(); ++i) forward(i, batch, tile, w);
    const double loss = output(batch, tile, reach, pull.inverse_rho, w);
    if (reach == Reach::loss) return loss;
    for (std::size_t i = operands_.size(); i-- > 0;) {
      const Operands& of = operands_[i];
      const Index size = of.out * t;
      T *const R = w.R.data(), *const dV = w.dV.data();
      layers_[i].activation->derivative(size, w.P[i].data(), Side::left, R);
      for (Index k = 0; k < size; ++k) R[k] *= dV[k];
      pack_left(of.out, t, R, Index(1), of.out, of.left.data() + tile.begin * Kernel<T>::rows,
                batch.size);
      pack_right_transposed(t, of.in, w.V[i].data(), of.in,
                            of.right.data() + tile.begin * Kernel<T>::columns, batch.size);
      if (i == 0) break;
      if (reach == Reach::gram)
        pack_left(of.in, t, weighed(i, batch, tile, w), Index(1), of.in,
                  of.gram.data() + tile.begin * Kernel<T>::rows, batch.size);
      backward(i, t, pull, w);
    }
    return loss;
  }

  // P_i and V̄_i.
  void forward(std::size_t i, const Batch& batch, const Tile& tile, Workspace& w) {
    const Operands& of = operands_[i];
    const Index t = tile.size, width = of.out + border_;
    T *const P = w.P[i].data(), *const value = w.next.data(), *const V = w.V[i + 1].data();
    pack_right(of.in, t, w.V[i].data(), w.panels.data());
    multiply(of.out, t, of.in, of.packed.data(), w.panels.data(), Destination<T>{P, of.out});
    layers_[i].activation->value(of.out * t, P, value);
    for (Index j = 0; j < t; ++j) {
      std::copy_n(value + j * of.out, of.out, V + j * width);
      if (layers_[i].skip) {
        const T* const from =
            i == 0 ? X_ + batch[tile.begin + j] * of.below : w.V[i].data() + j * of.in;
        for (Index k = 0; k < of.out; ++k) V[j * width + k] += from[k];
      }
      if (border_) V[j * width + of.out] = T(1);
    }
  }

  // Σ ω ℓ; dV_N.
  double output(const Batch& batch, const Tile& tile, Reach reach, double inverse_rho,
                Workspace& w) {
    const Index K = operands_.back().out, t = tile.size;
    const T* const P = w.V.back().data();
    T *const y = w.y.data(), *const v = w.next.data(), *const dV = w.dV.data();
    for (Index j = 0; j < t; ++j) {
      std::copy_n(targets_ + batch[tile.begin + j] * K, K, y + j * K);
      std::copy_n(P + j * (K + border_), K, v + j * K);
    }
    double loss = 0;
    if (!omega_)
      loss = loss_.value(K, t, v, y);
    else
      for (Index j = 0; j < t; ++j)
        loss += omega_[batch[tile.begin + j]] * loss_.value(K, 1, v + j * K, y + j * K);
    if (reach == Reach::loss) return loss;
    if (inverse_rho == 0) {
      loss_.gradient(K, t, v, y, Side::left, dV);
      for (Index k = 0; k < K * t; ++k) dV[k] = -dV[k];
    } else {
      loss_.prox(K, t, v, y, static_cast<T>(inverse_rho), dV);
      for (Index k = 0; k < K * t; ++k) dV[k] -= v[k];
    }
    if (omega_)
      for (Index j = 0; j < t; ++j)
        for (Index k = 0; k < K; ++k) dV[j * K + k] *= omega_[batch[tile.begin + j]];
    return loss;
  }

  // ω V̄_{i−1}.
  const T* weighed(std::size_t i, const Batch& batch, const Tile& tile, Workspace& w) const {
    const T* const V = w.V[i].data();
    if (!omega_) return V;
    const Index in = operands_[i].in;
    T* const to = w.next.data();
    for (Index j = 0; j < tile.size; ++j)
      for (Index k = 0; k < in; ++k) to[j * in + k] = omega_[batch[tile.begin + j]] * V[j * in + k];
    return to;
  }

  // dV_{i−1} from R_i and dV_i.
  void backward(std::size_t i, Index t, const Pull& pull, Workspace& w) {
    const Operands& of = operands_[i];
    const bool skip = layers_[i].skip;
    Update update = Update::assign;
    if (skip && pull.mixed) {
      pack_right(of.out, t, w.dV.data(), w.panels.data());
      multiply(of.below, t, of.out, of.mixed.data(), w.panels.data(),
               Destination<T>{w.next.data(), of.below});
      update = Update::add;
    } else if (skip) {
      std::swap(w.next, w.dV);
      update = Update::add;
    }
    pack_right(of.out, t, w.R.data(), w.panels.data());
    multiply(of.below, t, of.out, of.back.data(), w.panels.data(),
             Destination<T>{w.next.data(), of.below, update});
    std::swap(w.next, w.dV);
  }

  const std::vector<Layer<T>> layers_;
  const T *const X_, *const inputs_, *const targets_, *const omega_;
  const Loss<T>& loss_;
  const Index border_, tile_;
  const int threads_;
  std::vector<Operands> operands_;
  std::vector<Workspace> workspaces_;
  Buffer<double> losses_;  // of tiles
};

}  // namespace amcore
