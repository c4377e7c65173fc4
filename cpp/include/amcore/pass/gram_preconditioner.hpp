// Running means G_i of the Gram matrices of the layers' inputs, those above the first, and the
// steps of least squares in their metric:
//   D_i = C_i (G_i + Λ_i)⁻¹,  Λ_i = lam · mean diag(G_i), 0 for the bias.
// The first layer's inputs are whitened: D_1 = C_1.
#pragma once

#include "amcore/linalg/spd_solve.hpp"
#include "amcore/pass/batch_sums.hpp"

namespace amcore {

template <class T> class GramPreconditioner {
 public:
  // The G_i are those of the state; `sums`: of batches.
  GramPreconditioner(const Problem<T>& problem, const BatchSums<T>& sums, double lam, int threads)
      : layers_(problem.layers),
        sums_(sums),
        lam_(lam),
        border_(problem.layers[0].b ? 1 : 0),
        threads_(threads) {
    Index widest = 0;
    for (std::size_t i = 1; i < layers_.size(); ++i) {
      const Index n = size(i);
      inverse_.emplace_back(right_panels_size<T>(n, n));
      kept_.emplace_back(n * n);
      widest = std::max(widest, n);
    }
    const auto pieces = static_cast<Index>(sums.weight_rows().size());
    lengths_ = Buffer<double>(pieces);
    if (layers_.size() == 1) return;
    solver_ = LenientSpdSolver(widest, widest, threads);
    wide_ = Buffer<double>(widest * widest);
    narrow_ = Buffer<T>(widest * widest);
    for (int thread = 0; thread < team_of(threads, pieces); ++thread)
      panels_.emplace_back(left_panels_size<T>(LayerRows::block, widest));
  }

  // G_i ← G_i + rate (V̄V̄ᵀ/samples − G_i), of the sums of a batch.
  void update(double rate, Index samples) {
    const T share = static_cast<T>(1.0 / static_cast<double>(samples)), by = static_cast<T>(rate);
    for (std::size_t i = 1; i < layers_.size(); ++i) {
      const T* const from = sums_.gram(i);
      T* const G = layers_[i].G;
      for (Index k = 0; k < size(i) * size(i); ++k) G[k] += by * (from[k] * share - G[k]);
    }
    invert();
  }

  // After a change of the G_i: their inverses, the identity where there is no G_i yet.
  void invert() {
    for (std::size_t i = 1; i < layers_.size(); ++i) {
      const Index n = size(i), free = n - border_;
      const T* const G = layers_[i].G;
      MatrixMap<double> inverse(wide_.data(), n, n);
      inverse.setIdentity();
      if (std::any_of(G, G + n * n, [](T x) { return x != 0; })) {
        MatrixMap<double> matrix = solver_.matrix(n);
        for (Index k = 0; k < n * n; ++k) matrix.data()[k] = G[k];
        const double mean = matrix.diagonal().head(free).mean();
        matrix.diagonal().head(free).array() += lam_ * (mean == 0 ? 1 : mean);
        solver_.factorise(threads_);
        solver_.solve(inverse.data(), n, threads_);
      }
      for (Index k = 0; k < n * n; ++k) narrow_.data()[k] = static_cast<T>(inverse.data()[k]);
      pack_right(n, n, narrow_.data(), inverse_[i - 1].data());
    }
  }

  // A piece of the weights' rows, of D from C; each by one thread at a time.
  void operator()(Index piece, int thread, const std::vector<Buffer<T>>& D) {
    const auto [i, first, last] = sums_.weight_rows()[static_cast<std::size_t>(piece)];
    const Index rows = last - first, out = layers_[i].out, in = D[i].size() / out;
    const T* const from = sums_.cross(i) + first;
    T* const to = D[i].data() + first;
    if (i == 0) {
      for (Index j = 0; j < in; ++j) std::copy_n(from + j * out, rows, to + j * out);
    } else {
      T* const panels = panels_[static_cast<std::size_t>(thread)].data();
      pack_left(rows, in, from, Index(1), out, panels);
      multiply(rows, in, in, panels, inverse_[i - 1].data(), Destination<T>{to, out});
    }
    double total = 0;
    for (Index j = 0; j < in; ++j)
      total += sum(
          rows, [&](Index r) { return static_cast<double>(from[j * out + r]) * to[j * out + r]; });
    lengths_.data()[piece] = total;
  }

  // ⟨C_i, D_i⟩, once all its pieces are there.
  double inner_product(std::size_t i) const {
    double total = 0;
    for (std::size_t piece = 0; piece < sums_.weight_rows().size(); ++piece)
      if (sums_.weight_rows()[piece].layer == i) total += lengths_.data()[piece];
    return total;
  }

  void remember() {
    each_gram([](T* G, T* kept, Index n) { std::copy_n(G, n, kept); });
  }
  // The G_i as they were remembered.
  void restore() {
    each_gram([](T* G, T* kept, Index n) { std::copy_n(kept, n, G); });
  }

 private:
  // Of G_i.
  Index size(std::size_t i) const { return layers_[i].in + border_; }
  template <class Body> void each_gram(Body&& body) {
    for (std::size_t i = 1; i < layers_.size(); ++i)
      body(layers_[i].G, kept_[i - 1].data(), size(i) * size(i));
  }

  const std::vector<Layer<T>> layers_;
  const BatchSums<T>& sums_;
  const double lam_;
  const Index border_;
  const int threads_;
  LenientSpdSolver solver_;
  std::vector<Buffer<T>> inverse_;  // i ≥ 2, in right panels
  std::vector<Buffer<T>> kept_;
  std::vector<Buffer<T>> panels_;  // of one thread
  Buffer<double> wide_;            // an inverse, and
  Buffer<T> narrow_;               // in the state's type
  Buffer<double> lengths_;         // ⟨C, D⟩ of pieces
};

}  // namespace amcore
