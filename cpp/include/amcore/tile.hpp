// How the samples are cut: chunks (the pieces of parallel work, each with partial sums of its own)
// made of tiles (as many samples as stay in the cache while several steps are applied to them).
#pragma once

#include <algorithm>

#include "amcore/types.hpp"

namespace amcore {

struct Tile {
  Index begin, size;
  Index number = 0;  // among all tiles
};

// body(slice, at): the tile cut into slices of whole samples, so few that several arrays of this
// width fit in the fastest cache; the slice starts at entry `at` of an array of the tile's. Steps
// entry by entry that follow each other go over a tile once.
template <class T, class Body> void for_each_slice(const Tile& tile, Index width, Body&& body) {
  constexpr Index entries = 4096 / static_cast<Index>(sizeof(T));
  const Index few = std::max<Index>(1, entries / width);
  for (Index j = 0; j < tile.size; j += few)
    body(Tile{tile.begin + j, std::min(few, tile.size - j), tile.number}, j * width);
}

// Depends on the problem's sizes only, never on the machine or the number of threads: the order of
// all sums, hence every bit of the result, is fixed by it.
class TilePlan {
 public:
  static constexpr Index largest_tile = 384;  // samples

  TilePlan() = default;
  // `width`: the widest layer, not 0; `partial_bytes`: what one chunk's partial sums take;
  // `state_bytes`: what the state takes, to which partial sums may add half, as many of them as two
  // threads hold at a time.
  //
  // A few arrays of a tile should stay in the second cache; but sums over samples read and write a
  // matrix of width² for every tile, so that a tile has at least an eighth of the width.
  TilePlan(Index samples, Index width, Index scalar_bytes, Index partial_bytes, Index state_bytes)
      : samples_(samples) {
    constexpr Index cache = 256 << 10, least_tile = 96, share = 2;
    constexpr Index least_chunk = 256, few_chunks = 16, large_chunk = 4096, most_chunks = 64;
    const Index useful = std::max(std::min(few_chunks, samples / least_chunk),
                                  std::min(most_chunks, samples / large_chunk));
    Index held = 3;  // log₂ chunks + 2, if there are twice as many
    while (2 * chunks_ <= useful && (held == 3 || held * partial_bytes <= state_bytes / share)) {
      chunks_ *= 2;
      ++held;
    }
    chunk_ = (samples + chunks_ - 1) / chunks_;
    const Index least = std::clamp(width / 8, least_tile, largest_tile);
    const Index most = std::clamp(cache / (width * scalar_bytes), least, largest_tile);
    const Index tiles = std::max<Index>(1, (chunk_ + most - 1) / most);
    tile_ = std::max<Index>(1, std::min(chunk_, ((chunk_ + tiles - 1) / tiles + 11) / 12 *
                                                    12));  // 12: the kernel's columns
  }

  Index samples() const { return samples_; }
  Index chunks() const { return chunks_; }
  Index tile() const { return tile_; }
  Index tiles() const { return chunks_ * tiles_of_chunk(); }
  // Samples of a chunk.
  Index size_of(Index chunk) const { return std::min(chunk_, samples_ - chunk * chunk_); }

  template <class Body> void for_each_tile(Index chunk, Body&& body) const {
    const Index end = std::min(samples_, (chunk + 1) * chunk_);
    Index number = chunk * tiles_of_chunk();
    for (Index begin = chunk * chunk_; begin < end; begin += tile_, ++number)
      body(Tile{begin, std::min(tile_, end - begin), number});
  }

 private:
  Index tiles_of_chunk() const { return (chunk_ + tile_ - 1) / tile_; }

  Index samples_ = 0, chunks_ = 1, chunk_ = 0, tile_ = 0;
};

}  // namespace amcore
