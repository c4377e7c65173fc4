// NumPy arrays at the border: every shape, dtype and layout is checked here, since nothing below
// checks again.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cmath>
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "amcore/types.hpp"

namespace amcore::bindings {

namespace py = pybind11;
using Shape = std::vector<Index>;

inline std::string to_string(const Shape& shape) {
  std::ostringstream text;
  text << "(";
  for (std::size_t k = 0; k < shape.size(); ++k) text << (k ? ", " : "") << shape[k];
  text << (shape.size() == 1 ? ",)" : ")");
  return text.str();
}

inline Shape shape_of(const py::array& array) {
  return {array.shape(), array.shape() + array.ndim()};
}

inline bool is_float32(const py::array& array) {
  return array.dtype().equal(py::dtype::of<float>());
}

// The data of a C-contiguous, aligned array of dtype T and this shape.
template <class T>
const T* data(const py::array& array, const Shape& shape, const std::string& name) {
  const py::dtype dtype = py::dtype::of<T>();
  if (!array.dtype().equal(dtype))
    throw py::type_error(name + ": expected dtype " + py::str(dtype).cast<std::string>() +
                         ", got " + py::str(array.dtype()).cast<std::string>());
  if (shape_of(array) != shape)
    throw py::value_error(name + ": expected shape " + to_string(shape) + ", got " +
                          to_string(shape_of(array)));
  if (!(array.flags() & py::array::c_style) ||
      !(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
    throw py::value_error(name + ": expected a C-contiguous, aligned array, got another layout");
  return static_cast<const T*>(array.data());
}

template <class T> T* mutable_data(py::array& array, const Shape& shape, const std::string& name) {
  data<T>(array, shape, name);
  if (!array.writeable())
    throw py::value_error(name + ": expected a writeable array, got a read-only one");
  return static_cast<T*>(array.mutable_data());
}

// Refuses arrays that are written while another name refers to the same memory.
class Disjoint {
 public:
  void written(const py::array& array, const std::string& name) { add(array, name, true); }
  void read(const py::array& array, const std::string& name) { add(array, name, false); }

 private:
  struct Range {
    const char *begin, *end;
    std::string name;
    bool written;
  };
  void add(const py::array& array, const std::string& name, bool written) {
    const auto* const begin = static_cast<const char*>(array.data());
    const Range range{begin, begin + array.nbytes(), name, written};
    for (const Range& other : ranges_)
      if ((written || other.written) && range.begin < other.end && other.begin < range.end)
        throw py::value_error(name + " and " + other.name + " overlap in memory");
    ranges_.push_back(range);
  }
  std::vector<Range> ranges_;
};

// The data of `out`, for a result that is computed entry by entry: it may be one of the inputs, but
// not overlap one in part.
template <class T>
T* output(py::array& out, const Shape& shape, std::initializer_list<const py::array*> inputs) {
  T* const to = mutable_data<T>(out, shape, "out");
  for (const py::array* input : inputs) {
    if (input->data() == out.data()) continue;
    Disjoint disjoint;
    disjoint.read(*input, "an input");
    disjoint.written(out, "out");
  }
  return to;
}

// A number within a range.
inline void expect_number(bool within, const char* range, double value, const std::string& name) {
  if (within && std::isfinite(value)) return;
  std::ostringstream text;
  text << name << ": expected a finite number" << range << ", got " << value;
  throw py::value_error(text.str());
}
inline void positive(double value, const std::string& name) {
  expect_number(value > 0, " > 0", value, name);
}
inline void nonnegative(double value, const std::string& name) {
  expect_number(value >= 0, " >= 0", value, name);
}
inline void finite(double value, const std::string& name) { expect_number(true, "", value, name); }

// The number of entries of what has one for every layer.
inline void one_per_layer(std::size_t entries, std::size_t layers, const std::string& name) {
  if (entries != layers)
    throw py::value_error(name + ": expected " + std::to_string(layers) +
                          " entries (one per layer), got " + std::to_string(entries));
}

// A skip connection of layer i (from 0) of these widths.
inline void expect_skip(bool skip, Index in, Index out, std::size_t i) {
  if (skip && in != out)
    throw py::value_error("skip[" + std::to_string(i) + "]: expected False where widths differ (" +
                          std::to_string(in) + " and " + std::to_string(out) + "), got True");
}

// Calls body(T{}) with the array's type, float or double.
template <class Body>
decltype(auto) dispatch(const py::array& array, const char* name, Body&& body) {
  if (is_float32(array)) return body(float{});
  if (array.dtype().equal(py::dtype::of<double>())) return body(double{});
  throw py::type_error(std::string(name) + ": expected dtype float32 or float64, got " +
                       py::str(array.dtype()).cast<std::string>());
}

}  // namespace amcore::bindings
