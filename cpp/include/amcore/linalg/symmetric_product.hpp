// Products with one symmetric float64 matrix, packed once for all of them.
#pragma once

#include <vector>

#include "amcore/linalg/packed_weights.hpp"
#include "amcore/linalg/spd_solve.hpp"

namespace amcore {

class SymmetricProduct {
 public:
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

  // out ← H x, both of that many columns; blocks of them in parallel.
  void operator()(Index columns, const double* x, double* out, int threads) const {
    parallel_blocks(columns, block, threads, [&](Index j, Index end, int thread) {
      double* const panels = right_[static_cast<std::size_t>(thread)].data();
      pack_right(size_, end - j, x + j * size_, panels);
      multiply(size_, end - j, size_, left_.data(), panels,
               Destination<double>{out + j * size_, size_});
    });
  }

 private:
  static constexpr Index block = SpdSolver::block;

  Buffer<double> left_;
  std::vector<Buffer<double>> right_;  // of one thread
  Index size_ = 0;
};

}  // namespace amcore
