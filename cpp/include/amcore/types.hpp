// The vocabulary of the core: index type, matrix views, aligned storage.
//
// A C-ordered (n, d) NumPy array is a column-major d × n matrix: a sample is a contiguous column.
// Weights are C-ordered (out, in), that is row-major.
#pragma once

#include <Eigen/Core>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace amcore {

using Index = std::ptrdiff_t;

template <class T> using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;
template <class T> using RowMatrix =
    Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T> using Array = Eigen::Array<T, Eigen::Dynamic, 1>;

template <class T> using MatrixMap = Eigen::Map<Matrix<T>>;
template <class T> using RowMatrixMap = Eigen::Map<RowMatrix<T>>;
template <class T> using ConstRowMatrixMap = Eigen::Map<const RowMatrix<T>>;
template <class T> using ArrayMap = Eigen::Map<Array<T>>;
template <class T> using ConstArrayMap = Eigen::Map<const Array<T>>;

// Uninitialised storage on cache-line boundaries; allocated once, when a scheme is built.
template <class T> class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Index size) : size_(size) {
    if (size > 0) {
      const std::size_t bytes = (static_cast<std::size_t>(size) * sizeof(T) + 63) / 64 * 64;
      data_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
      if (!data_) throw std::bad_alloc();
    }
  }
  T* data() const { return data_.get(); }
  Index size() const { return size_; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
  Index size_ = 0;
};

}  // namespace amcore
