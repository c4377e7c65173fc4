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
template <class T> const T* data(const py::array& array, const Shape& shape, const char* name) {
  if (!array.dtype().equal(py::dtype::of<T>()))
    throw py::type_error(std::string(name) + " has dtype " +
                         py::str(array.dtype()).cast<std::string>() + ", expected " +
                         py::str(py::dtype::of<T>()).cast<std::string>());
  if (shape_of(array) != shape)
    throw py::value_error(std::string(name) + " has shape " + to_string(shape_of(array)) +
                          ", expected " + to_string(shape));
  if (!(array.flags() & py::array::c_style) ||
      !(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
    throw py::value_error(std::string(name) + " must be C-contiguous and aligned");
  return static_cast<const T*>(array.data());
}

template <class T> T* mutable_data(py::array& array, const Shape& shape, const char* name) {
  data<T>(array, shape, name);
  if (!array.writeable()) throw py::value_error(std::string(name) + " is read-only");
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

inline void positive(double value, const char* name) {
  if (!(value > 0 && std::isfinite(value)))
    throw py::value_error(std::string(name) + " must be positive and finite");
}
inline void nonnegative(double value, const char* name) {
  if (!(value >= 0 && std::isfinite(value)))
    throw py::value_error(std::string(name) + " must be non-negative and finite");
}

// Calls body(T{}) with the array's type, float or double.
template <class Body>
decltype(auto) dispatch(const py::array& array, const char* name, Body&& body) {
  if (is_float32(array)) return body(float{});
  if (array.dtype().equal(py::dtype::of<double>())) return body(double{});
  throw py::type_error(std::string(name) + " has dtype " +
                       py::str(array.dtype()).cast<std::string>() +
                       ", expected float32 or float64");
}

}  // namespace amcore::bindings
