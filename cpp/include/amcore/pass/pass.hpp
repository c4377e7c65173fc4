// A pass over all samples. Every chunk of them is given to one thread, tile by tile, with scratch
// of that thread; the sums over samples that the pass takes (a tally of float64 numbers) are kept
// by chunk and added in a fixed order, so that no bit depends on the number of threads.
#pragma once

#include <array>
#include <atomic>
#include <type_traits>

#include "amcore/error.hpp"
#include "amcore/pass/workspace.hpp"

namespace amcore {

template <class T, std::size_t Sums> class Pass {
 public:
  using Tally = std::array<double, Sums>;

  // `arrays`: of a workspace.
  Pass(const Task<T>& task, std::size_t arrays)
      : task_(task), tallies_(task.plan.chunks()), maxima_(task.plan.chunks()) {
    for (int thread = 0; thread < team_of(task.threads, task.plan.chunks()); ++thread)
      workspaces_.emplace_back(task, arrays);
  }

  // body(chunk, tile, tally, workspace) for layer i; the sums of its tallies over all processes. A
  // body that returns the block whose new values are not finite (else null), before it writes them,
  // ends the pass with an error.
  template <class Body> Tally operator()(std::size_t i, Body&& body) {
    std::atomic<const char*> failed{nullptr};
    parallel_for(task_.plan.chunks(), task_.threads, [&](Index chunk, int thread) {
      Tally& tally = tallies_.data()[chunk].tally;
      tally = {};
      const Workspace<T>& workspace = workspaces_[static_cast<std::size_t>(thread)];
      task_.plan.for_each_tile(chunk, [&](Tile tile) {
        if constexpr (std::is_void_v<decltype(body(chunk, tile, tally, workspace))>) {
          body(chunk, tile, tally, workspace);
        } else {
          if (failed.load(std::memory_order_relaxed)) return;
          const char* const block = body(chunk, tile, tally, workspace);
          if (block) failed.store(block, std::memory_order_relaxed);
        }
      });
    });
    if (const char* const block = failed.load())
      throw NumericalError("the update is not finite", static_cast<int>(i) + 1, block);
    Tally total{};
    for (Index chunk = 0; chunk < task_.plan.chunks(); ++chunk)
      for (std::size_t k = 0; k < Sums; ++k) total[k] += tallies_.data()[chunk].tally[k];
    task_.collective.sum(total.data(), static_cast<Index>(Sums));
    return total;
  }

  // The greatest of body(tile, workspace) ≥ 0 over all tiles of all processes.
  template <class Body> double greatest(std::size_t i, Body&& body) {
    std::fill_n(maxima_.data(), task_.plan.chunks(), 0.0);
    (*this)(i, [&](Index chunk, Tile tile, Tally&, const Workspace<T>& workspace) {
      double& most = maxima_.data()[chunk];
      most = std::max(most, body(tile, workspace));
    });
    double most = *std::max_element(maxima_.data(), maxima_.data() + task_.plan.chunks());
    task_.collective.max(&most, 1);
    return most;
  }

 private:
  struct alignas(64) PaddedTally {
    Tally tally;
  };

  const Task<T>& task_;
  Buffer<PaddedTally> tallies_;  // by chunk, as the maxima
  Buffer<double> maxima_;
  std::vector<Workspace<T>> workspaces_;  // one per thread
};

}  // namespace amcore
