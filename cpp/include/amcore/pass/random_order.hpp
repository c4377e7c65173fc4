// The order in which an epoch takes the samples, in batches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "amcore/collective.hpp"
#include "amcore/pass/batch.hpp"

namespace amcore {

// 64 random bits for every number: splitmix64 of Steele, Lea, Flood (OOPSLA 2014).
class RandomKeys {
 public:
  RandomKeys(std::uint64_t seed, std::uint64_t stream) : start_(mix(seed * golden + stream)) {}
  std::uint64_t operator()(std::uint64_t number) const {
    return mix(start_ + (number + 1) * golden);
  }

 private:
  static constexpr std::uint64_t golden = 0x9E3779B97F4A7C15u;
  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  std::uint64_t start_;
};

class RandomOrder {
 public:
  RandomOrder(const Share& share, Index batches)
      : share_(share),
        batches_(batches),
        keys_(share.total),
        rows_(share.size),
        starts_(batches + 1) {}

  // The samples of all processes, sorted by random keys, which are the same for the same seed and
  // epoch, and cut into equal batches; the rows of those that are here.
  void draw(std::uint64_t seed, Index epoch) {
    const RandomKeys key(seed, static_cast<std::uint64_t>(epoch));
    for (Index j = 0; j < share_.total; ++j)
      keys_.data()[j] = {key(static_cast<std::uint64_t>(j)), static_cast<std::uint32_t>(j)};
    std::sort(keys_.data(), keys_.data() + share_.total);
    Index here = 0;
    for (Index b = 0; b < batches_; ++b) {
      starts_.data()[b] = here;
      for (Index j = begin(b); j < begin(b + 1); ++j) {
        const Index row = Index{keys_.data()[j].second} - share_.first;
        if (0 <= row && row < share_.size) rows_.data()[here++] = static_cast<std::uint32_t>(row);
      }
    }
    starts_.data()[batches_] = here;
  }

  // What is here of a batch, and how many samples it has on all processes.
  Batch operator[](Index b) const {
    const Index first = starts_.data()[b];
    return {rows_.data(), first, starts_.data()[b + 1] - first};
  }
  Index total(Index b) const { return begin(b + 1) - begin(b); }

 private:
  Index begin(Index b) const { return b * share_.total / batches_; }

  const Share share_;
  const Index batches_;
  Buffer<std::pair<std::uint64_t, std::uint32_t>> keys_;
  Buffer<std::uint32_t> rows_;
  Buffer<Index> starts_;
};

}  // namespace amcore
