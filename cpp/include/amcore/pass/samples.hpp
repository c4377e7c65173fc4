// Arrays that grow with the samples.
#pragma once

#include <functional>
#include <memory>

#include "amcore/tile.hpp"

namespace amcore {

// Memory for so many bytes of such arrays, on a cache line; null: the process's own. Elsewhere they
// may lie in files that are mapped.
using Allocate = std::function<std::shared_ptr<void>(std::size_t bytes)>;

// `width` entries of every sample, uninitialised.
template <class T> class SampleArray {
 public:
  SampleArray() = default;
  SampleArray(Index width, Index samples, const Allocate& allocate) : width_(width) {
    const Index size = width * samples;
    if (size == 0) return;
    if (allocate) {
      data_ = std::static_pointer_cast<T>(allocate(static_cast<std::size_t>(size) * sizeof(T)));
    } else {
      auto buffer = std::make_shared<Buffer<T>>(size);
      data_ = std::shared_ptr<T>(buffer, buffer->data());
    }
  }

  T* data() const { return data_.get(); }
  T* of(Tile tile) const { return data() + tile.begin * width_; }

 private:
  std::shared_ptr<T> data_;
  Index width_ = 0;
};

}  // namespace amcore
