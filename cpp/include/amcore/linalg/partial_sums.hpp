// Sums over samples, an array for every chunk of them, added in a fixed binary tree over chunks.
// Two arrays are added as soon as both are complete, by the thread that completed the second: of
// chunks that are worked on in order only about threads + log₂ chunks arrays are ever in use, and
// storage that was never in use is never touched.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

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
  }

  // Start from zero; size: not above that of the constructor.
  void begin(Index size) {
    size_ = size;
    free_.clear();
    for (Index slot = plan_.chunks(); slot-- > 0;) free_.push_back(slot);
    std::fill(slot_.begin(), slot_.end(), none);
    std::fill(waiting_.begin(), waiting_.end(), none);
    for (std::size_t c = 0; c < missing_.size(); ++c)
      missing_[c] = plan_.size_of(static_cast<Index>(c));
  }

  // The sums of a chunk, to be added to; one thread at a time.
  T* of(Index chunk) {
    Index& slot = slot_[static_cast<std::size_t>(chunk)];
    if (slot == none) {
      {
        const std::lock_guard guard(*lock_);
        slot = free_.back();
        free_.pop_back();
      }
      std::fill_n(array(slot), size_, T(0));
    }
    return array(slot);
  }

  // So many samples of a chunk have been added. With the last one its sums are complete.
  void added(Index chunk, Index samples) {
    const auto c = static_cast<std::size_t>(chunk);
    missing_[c] -= samples;
    if (missing_[c] > 0) return;
    const Index slot = slot_[c];
    // Nodes of the tree: 1 is the root, 2k and 2k + 1 are below k.
    std::size_t node = missing_.size() + c;
    for (; node > 1; node /= 2) {
      Index other;
      {
        const std::lock_guard guard(*lock_);
        other = waiting_[node ^ 1];
        if (other == none) {
          waiting_[node] = slot;
          return;
        }
      }
      T* __restrict to = array(slot);
      const T* __restrict from = array(other);
      for (Index k = 0; k < size_; ++k) to[k] += from[k];
      const std::lock_guard guard(*lock_);
      free_.push_back(other);
    }
    total_ = slot;
  }

  // Once all samples have been added.
  T* total() const { return array(total_); }
  Index size() const { return size_; }

 private:
  static constexpr Index none = -1;

  T* array(Index slot) const { return storage_.data() + slot * capacity_; }

  TilePlan plan_;
  Index capacity_ = 0, size_ = 0, total_ = 0;
  Buffer<T> storage_;           // arrays, by slot
  std::vector<Index> missing_;  // samples, by chunk
  std::vector<Index> slot_;     // by chunk
  std::vector<Index> waiting_;  // by node: the slot of its sum, until that of its sibling is there
  std::vector<Index> free_;     // slots
  std::unique_ptr<std::mutex> lock_;
};

}  // namespace amcore
