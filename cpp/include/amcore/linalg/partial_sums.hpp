// Sums over samples, an array for every chunk of them, added in a fixed binary tree over chunks.
// Two arrays are added as soon as both are complete, by the thread that completed the second, while
// there are chunks left to begin: of chunks that are worked on in order only about threads +
// log₂ chunks arrays are ever in use, and storage that was never in use is never touched. What is
// left at the end all threads add, a range of entries each.
#pragma once

#include <algorithm>
#include <cassert>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "amcore/collective.hpp"
#include "amcore/parallel.hpp"
#include "amcore/tile.hpp"
#include "amcore/types.hpp"

namespace amcore {

template <class T> class PartialSums {
 public:
  PartialSums() = default;
  PartialSums(const TilePlan& plan, Index size)
      : plan_(plan),
        capacity_((size + 63) / 64 * 64),
        storage_(plan.chunks() * capacity_),
        missing_(static_cast<std::size_t>(plan.chunks())),
        slot_(missing_.size()),
        waiting_(2 * missing_.size()),
        lock_(std::make_unique<std::mutex>()) {
    free_.reserve(missing_.size());
    left_.reserve(missing_.size());
  }

  // Start from zero; size: not above that of the constructor.
  void begin(Index size) {
    assert(size <= capacity_);
    size_ = size;
    begun_ = 0;
    free_.clear();
    for (Index slot = plan_.chunks(); slot-- > 0;) free_.push_back(slot);
    std::fill(slot_.begin(), slot_.end(), none);
    std::fill(waiting_.begin(), waiting_.end(), none);
    for (std::size_t c = 0; c < missing_.size(); ++c)
      missing_[c] = plan_.size_of(static_cast<Index>(c));
    if (plan_.samples() == 0) {
      of(0);
      added(0, 0);
    }
  }

  // The sums of a chunk, to be added to; one thread at a time.
  T* of(Index chunk) {
    Index& slot = slot_[static_cast<std::size_t>(chunk)];
    if (slot == none) {
      {
        const std::lock_guard guard(*lock_);
        slot = free_.back();
        free_.pop_back();
        ++begun_;
      }
      std::fill_n(array(slot), size_, T(0));
    }
    return array(slot);
  }

  // So many samples of a chunk have been added. With the last one its sums are complete.
  void added(Index chunk, Index samples) {
    const auto c = static_cast<std::size_t>(chunk);
    missing_[c] -= samples;
    assert(missing_[c] >= 0);
    if (missing_[c] > 0) return;
    // Nodes of the tree: 1 is the root, 2k and 2k + 1 are below k.
    std::size_t node = missing_.size() + c;
    const Index slot = slot_[c];
    std::unique_lock guard(*lock_);
    while (node > 1 && waiting_[node ^ 1] != none && begun_ < plan_.chunks()) {
      const Index other = std::exchange(waiting_[node ^ 1], none);
      guard.unlock();
      add(array(other), array(slot), 0, size_);
      guard.lock();
      free_.push_back(other);
      node /= 2;
    }
    waiting_[node] = slot;
  }

  // Once all samples of this process have been added: the total over all processes.
  void reduce(Collective& collective, int threads) {
    assert(std::all_of(missing_.begin(), missing_.end(), [](Index left) { return left == 0; }) ||
           plan_.samples() == 0);
    if (plan_.samples() == 0) {
      of(0);
      waiting_[1] = slot_[0];
    }
    left_.clear();
    for (std::size_t node = missing_.size(); --node > 0;) {
      const Index slot = waiting_[2 * node], other = waiting_[2 * node + 1];
      if (slot == none) continue;
      left_.emplace_back(array(other), array(slot));
      waiting_[node] = slot;
    }
    constexpr Index block = 1 << 12;
    const int team = team_for_entries(size_ * static_cast<Index>(left_.size()), threads);
    parallel_blocks(size_, block, team, [&](Index first, Index last, int) {
      for (const auto& [from, to] : left_) add(from, to, first, last);
    });
    collective.sum(total(), size_);
  }
  T* total() const { return array(waiting_[1]); }

 private:
  static constexpr Index none = -1;

  T* array(Index slot) const { return storage_.data() + slot * capacity_; }
  static void add(const T* __restrict from, T* __restrict to, Index first, Index last) {
    for (Index k = first; k < last; ++k) to[k] += from[k];
  }

  TilePlan plan_;
  Index capacity_ = 0, size_ = 0;
  Index begun_ = 0;             // chunks
  Buffer<T> storage_;           // arrays, by slot
  std::vector<Index> missing_;  // samples, by chunk
  std::vector<Index> slot_;     // by chunk
  std::vector<Index> waiting_;  // by node: the slot of its sum, until that of its sibling is there
  std::vector<Index> free_;     // slots
  std::vector<std::pair<const T*, T*>> left_;  // additions, when all chunks are complete
  std::unique_ptr<std::mutex> lock_;
};

}  // namespace amcore
