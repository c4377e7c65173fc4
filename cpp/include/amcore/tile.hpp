// How the samples are cut: chunks (the pieces of parallel work, each with partial sums of its own)
// made of tiles (as many samples as stay in the cache while several steps are applied to them).
#pragma once

#include <algorithm>
#include <bit>

#include "amcore/types.hpp"

namespace amcore {

struct Tile {
  Index begin, size;
};

// Depends on the problem's sizes only, never on the machine or the number of threads: the order of
// all sums, hence every bit of the result, is fixed by it.
class TilePlan {
 public:
  static constexpr Index largest_tile = 252;  // samples

  // `width`: the widest layer; `partial_bytes`: what one chunk's partial sums take;
  // `state_bytes`: what the state takes, of which partial sums may add a small share.
  TilePlan(Index samples, Index width, Index scalar_bytes, Index partial_bytes, Index state_bytes)
      : samples_(samples) {
    constexpr Index cache = 384 << 10, least_chunk = 256, most_chunks = 16, share = 16;
    const Index affordable =
        std::max<Index>(2, state_bytes / share / std::max<Index>(1, partial_bytes));
    const Index useful = std::max<Index>(1, samples / least_chunk);
    const auto chunks = static_cast<std::size_t>(std::min({most_chunks, affordable, useful}));
    chunks_ = static_cast<Index>(std::bit_floor(chunks));
    chunk_ = (samples + chunks_ - 1) / chunks_;
    const Index most =
        std::clamp<Index>(cache / std::max<Index>(1, width * scalar_bytes), 24, largest_tile);
    const Index tiles = std::max<Index>(1, (chunk_ + most - 1) / most);
    tile_ = std::max<Index>(1, std::min(chunk_, ((chunk_ + tiles - 1) / tiles + 11) / 12 *
                                                    12));  // 12: the kernel's columns
  }

  Index samples() const { return samples_; }
  Index chunks() const { return chunks_; }
  Index tile() const { return tile_; }

  template <class Body> void for_each_tile(Index chunk, Body&& body) const {
    const Index end = std::min(samples_, (chunk + 1) * chunk_);
    for (Index begin = chunk * chunk_; begin < end; begin += tile_)
      body(Tile{begin, std::min(tile_, end - begin)});
  }

 private:
  Index samples_, chunks_ = 1, chunk_ = 0, tile_ = 0;
};

}  // namespace amcore
