// The blocks V_i minimised exactly: what a BatchPass needs of the weights for
//   dV_{i−1} = argmin ½‖R_i − W_i dV‖² + ε/2 ‖dV‖² [+ ½‖dV_i − dV‖²] = M_i (W_iᵀR_i [+ dV_i]),
//   M_i = (W_iᵀW_i + (ε + [1])I)⁻¹,
// with ε = epsilon ‖W_i‖²/d_i, the terms in brackets where the layer skips.
#pragma once

#include "amcore/linalg/spd_solve.hpp"
#include "amcore/pass/batch.hpp"

namespace amcore {

template <class T> class ExactBlocks {
 public:
  ExactBlocks(const Problem<T>& problem, BatchPass<T>& pass, double inverse_epsilon, int threads)
      : layers_(problem.layers), pass_(pass), inverse_epsilon_(inverse_epsilon), threads_(threads) {
    Index widest = 0;
    for (std::size_t i = 1; i < layers_.size(); ++i) {
      widest = std::max({widest, layers_[i].in, layers_[i].out});
      if (layers_[i].skip)
        pass.layers()[i].mixed = Buffer<T>(left_panels_size<T>(layers_[i].out, layers_[i].out));
    }
    if (layers_.size() == 1) return;
    solver_ = LenientSpdSolver(widest, widest, threads);
    mixed_ = Buffer<double>(widest * widest);
    transposed_ = Buffer<double>(widest * widest);
    gram_product_ = GramProduct<double>(widest);
  }

  // Panels of M_iW_iᵀ and M_i for the pass; the units of R_i into `units`, the last being given:
  // every block below is smaller by 1/ε.
  void prepare(std::vector<double>& units) {
    for (std::size_t i = layers_.size() - 1; i > 0; --i) {
      auto& of = pass_.layers()[i];
      const Index n = of.below;
      const T* const W = of.W.data();
      MatrixMap<double> transposed(transposed_.data(), n, of.out);
      for (Index r = 0; r < of.out; ++r)
        for (Index j = 0; j < n; ++j) transposed(j, r) = W[j * of.out + r];
      const double mean = sum_of_squares(n * of.out, W) / static_cast<double>(of.out);
      const double eps = mean > 0 ? mean / inverse_epsilon_ : 1;
      MatrixMap<double> H = solver_.matrix(n);
      gram_product_(transposed, 1.0, H, threads_);
      H.diagonal().array() += eps + (layers_[i].skip ? 1 : 0);
      solver_.factorise(threads_);
      if (layers_[i].skip) {
        MatrixMap<double> M(mixed_.data(), n, n);
        M.setIdentity();
        solver_.solve(M.data(), n, threads_);
        pack_left(n, n, M.data(), Index(1), n, of.mixed.data());
      }
      solver_.solve(transposed.data(), of.out, threads_);
      pack_left(n, of.out, transposed.data(), Index(1), n, of.back.data());
      units[i - 1] = units[i] / eps;
    }
  }

 private:
  const std::vector<Layer<T>> layers_;
  BatchPass<T>& pass_;
  const double inverse_epsilon_;
  const int threads_;
  LenientSpdSolver solver_;
  Buffer<double> mixed_, transposed_;
  GramProduct<double> gram_product_;
};

}  // namespace amcore
