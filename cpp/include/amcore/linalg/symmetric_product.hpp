// Products with one symmetric float64 matrix, packed once for all of them.
#pragma once

#include <vector>

#include "amcore/linalg/packed_weights.hpp"
#include "amcore/linalg/spd_solve.hpp"

namespace amcore {

class SymmetricProduct {
 public:
  static constexpr Index block = SpdSolver::block;  // columns

  SymmetricProduct() = default;
  // The largest matrix and the most columns.
  SymmetricProduct(Index size, Index columns, int threads)
      : left_(left_panels_size<double>(size, size)) {
    for (int thread = 0; thread < team_of(threads, blocks_of(columns, block)); ++thread)
      right_.emplace_back(right_panels_size<double>(size, block));
  }

  void pack(const MatrixMap<double>& h, int threads) {
    size_ = h.rows();
    pack_left_in_parallel(size_, size_, h.data(), Index(1), size_, left_.data(), threads);
  }

  // out ← H x for a block of columns, by one thread.
  void operator()(Index first, Index last, const double* x, double* out, int thread) const {
    double* const panels = right_[static_cast<std::size_t>(thread)].data();
    pack_right(size_, last - first, x + first * size_, panels);
    multiply(size_, last - first, size_, left_.data(), panels,
             Destination<double>{out + first * size_, size_});
  }

 private:
  Buffer<double> left_;
  std::vector<Buffer<double>> right_;  // of one thread
  Index size_ = 0;
};

}  // namespace amcore
