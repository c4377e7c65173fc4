// The block updates on whole arrays, for alternating-minimisation code of other origin. Samples are
// columns.
#pragma once

#include <atomic>

#include "amcore/activation/activation.hpp"
#include "amcore/block/hidden.hpp"
#include "amcore/block/output.hpp"
#include "amcore/block/weight.hpp"
#include "amcore/regularizer/ridge.hpp"

namespace amcore {

// (W, b) in place: argmin ρ/2‖U − W V − b1ᵀ‖² + λ/2‖W‖² + α/2‖(W, b) − (Wᵏ, bᵏ)‖²
template <class T> void ridge_update(Index n, Index out, Index in, const T* U, const T* V, T* W,
                                     T* b, double rho, double alpha, double lam, int threads) {
  const Index width = std::max(out, in), partial = in * (in + out);
  if (out == 0 || (in == 0 && !b)) return;
  const auto bytes = static_cast<Index>(sizeof(T));
  const TilePlan plan(n, width, bytes, partial * bytes, n * (in + out) * bytes);
  threads = team_of(threads);
  Buffer<T> packed(left_panels_size<T>(out, in));
  pack_left_in_parallel(out, in, W, in, Index(1), packed.data(), threads);
  SampleSums<T> sums(out, in, plan, true);
  Collective local;
  sums.begin(out, in, true, n, V, local);
  std::vector<Panels<T>> panels;
  std::vector<Buffer<T>> residuals;
  for (int thread = 0; thread < team_of(threads, plan.chunks()); ++thread) {
    panels.emplace_back(width, plan.tile());
    residuals.emplace_back(out * plan.tile());
  }
  parallel_for(plan.chunks(), threads, [&](Index chunk, int thread) {
    const Panels<T>& panel = panels[static_cast<std::size_t>(thread)];
    T* const residual = residuals[static_cast<std::size_t>(thread)].data();
    plan.for_each_tile(chunk, [&](Tile tile) {
      const T* const v = V + tile.begin * in;
      const T* const u = U + tile.begin * out;
      pack_right(in, tile.size, v, panel.right.data());
      multiply(out, tile.size, in, packed.data(), panel.right.data(),
               Destination<T>{residual, out, Update::subtract, u, b});
      sums.add(chunk, tile.size, residual, v, panel);
    });
  });
  sums.reduce(local, threads);
  const RegularizerOf<regularizer::RidgeRegularizer, T> ridge({lam});
  WeightBlock<T>(out, in, false, threads)
      .update(W, b, sums.moments(), sums, static_cast<double>(n), rho, alpha, ridge, {}, 0,
              threads);
}

// V ← argmin γ/2‖V − S‖² + ρ/2‖U − W V − b1ᵀ‖²;  S, V: in × n, U: out × n
template <class T> void hidden_update(Index n, Index out, Index in, const T* S, const T* U,
                                      const T* W, const T* b, double gamma, double rho, T* V,
                                      int threads) {
  if (n == 0 || in == 0) return;
  const Index width = std::max(out, in);
  const auto bytes = static_cast<Index>(sizeof(T));
  const TilePlan plan(n, width, bytes, 0, n * width * bytes);
  threads = team_of(threads);
  HiddenBlock<T> block(out, in, threads);
  block.prepare(out, in, W, gamma, rho, 0, threads);
  std::vector<Buffer<T>> residuals, panels;
  for (int thread = 0; thread < team_of(threads, plan.chunks()); ++thread) {
    residuals.emplace_back(out * plan.tile());
    panels.emplace_back(right_panels_size<T>(width, plan.tile()));
  }
  parallel_for(plan.chunks(), threads, [&](Index chunk, int thread) {
    T* const residual = residuals[static_cast<std::size_t>(thread)].data();
    plan.for_each_tile(chunk, [&](Tile tile) {
      const T* const u = U + tile.begin * out;
      block.update(tile.size, S + tile.begin * in, u, b, residual, V + tile.begin * in,
                   panels[static_cast<std::size_t>(thread)].data());
    });
  });
}

// Elementwise blocks run over pieces of this many entries.
inline constexpr Index piece = 1 << 12;

// U in place: argmin γ/2‖V − σ(U)‖² + ρ/2‖U − P‖² + α/2‖U − Uᵏ‖²
template <class T> void preactivation_update(Index size, const Activation<T>& activation,
                                             const T* V, const T* P, T* U, double gamma, double rho,
                                             double alpha, int threads) {
  parallel_blocks(size, piece, threads, [&](Index first, Index last, int) {
    T best[piece], residual[piece];
    const Index count = last - first;
    activation.preactivation_update(count, V + first, P + first, U + first, gamma, rho, alpha, best,
                                    residual);
    std::copy_n(best, count, U + first);
  });
}

// V in place: argmin c ℓ(V, Y) + γ/2‖V − S‖² + α/2‖V − Vᵏ‖²
template <class T> void output_update(Index k, Index n, const Loss<T>& loss, double weight,
                                      const T* Y, const T* S, T* V, double gamma, double alpha,
                                      int threads) {
  const Index samples = std::max<Index>(1, piece / k);
  threads = team_of(threads, blocks_of(n, samples));
  std::vector<Buffer<T>> scratch;
  for (int thread = 0; thread < threads; ++thread) scratch.emplace_back(samples * k);
  parallel_blocks(n, samples, threads, [&](Index first, Index last, int thread) {
    T* const v = V + first * k;
    output_update(k, last - first, loss, weight, Y + first * k, S + first * k, v, gamma, alpha,
                  scratch[static_cast<std::size_t>(thread)].data(), v);
  });
}

}  // namespace amcore
