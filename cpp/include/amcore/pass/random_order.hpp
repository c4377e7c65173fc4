// The order in which an epoch takes the samples.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "amcore/types.hpp"

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
  explicit RandomOrder(Index samples) : keys_(samples), rows_(samples) {}

  // The numbers below `samples`, sorted by random keys; the same for the same seed and epoch.
  const std::uint32_t* draw(std::uint64_t seed, Index epoch) {
    const Index n = keys_.size();
    const RandomKeys key(seed, static_cast<std::uint64_t>(epoch));
    for (Index j = 0; j < n; ++j)
      keys_.data()[j] = {key(static_cast<std::uint64_t>(j)), static_cast<std::uint32_t>(j)};
    std::sort(keys_.data(), keys_.data() + n);
    for (Index j = 0; j < n; ++j) rows_.data()[j] = keys_.data()[j].second;
    return rows_.data();
  }

 private:
  Buffer<std::pair<std::uint64_t, std::uint32_t>> keys_;
  Buffer<std::uint32_t> rows_;
};

}  // namespace amcore
