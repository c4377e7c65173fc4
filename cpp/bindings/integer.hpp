// Integers from Python. pybind11 answers one that C++ cannot hold with all arguments of the call,
// over many lines; here the argument is named.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <limits>
#include <string>
#include <utility>

namespace amcore::bindings {

namespace py = pybind11;

inline std::string described(py::handle value) {
  return py::repr(value).cast<std::string>() + " (" + Py_TYPE(value.ptr())->tp_name + ")";
}

// An integer of type I that is at least `least`.
template <class I> I integer(py::handle value, const std::string& name, I least) {
  const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!number) {
    PyErr_Clear();
    throw py::type_error(name + ": expected an integer, got " + Py_TYPE(value.ptr())->tp_name);
  }
  constexpr I most = std::numeric_limits<I>::max();
  int overflow = 0;
  const long long x = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  if (overflow != 0 || std::cmp_less(x, least) || std::cmp_greater(x, most))
    throw py::value_error(name + ": expected an integer from " + std::to_string(least) + " to " +
                          std::to_string(most) + ", got " + py::str(number).cast<std::string>());
  return static_cast<I>(x);
}

template <std::size_t N> struct Name {
  char text[N];
  constexpr Name(const char (&given)[N]) { std::copy_n(given, N, text); }
};

// An argument of that name.
template <class I, Name argument, I least> struct Integer {
  I value = least;
  operator I() const { return value; }
};

using Threads = Integer<int, "num_threads", 0>;

}  // namespace amcore::bindings

template <class I, amcore::bindings::Name argument, I least>
struct pybind11::detail::type_caster<amcore::bindings::Integer<I, argument, least>> {
  using Type = amcore::bindings::Integer<I, argument, least>;
  PYBIND11_TYPE_CASTER(Type, const_name("int"));
  bool load(handle source, bool) {
    value.value = amcore::bindings::integer<I>(source, argument.text, least);
    return true;
  }
};
