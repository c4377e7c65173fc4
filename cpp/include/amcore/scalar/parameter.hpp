// How an operator declares its parameters:
//   static constexpr std::array parameters{Parameter{"slope", 0.01}};
// or, for one parameter that is a sequence of numbers,
//   static constexpr Sequence parameters{"coefficients", std::array{0.0, 1.0}};
#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace amcore {

struct Parameter {
  const char* name;
  double initial;  // the default
};

template <std::size_t N> struct Sequence {
  const char* name;
  std::array<double, N> initial;
};
// Before 17, Clang has none for aggregates.
template <std::size_t N> Sequence(const char*, std::array<double, N>) -> Sequence<N>;

// `value`, if it is a number of [least, most]; the largest finite one is the default bound.
inline double in_range(double value, const char* what, double least,
                       double most = std::numeric_limits<double>::max()) {
  if (value >= least && value <= most) return value;
  throw std::invalid_argument(std::string(what) + " is out of range");
}

using NoParameters = std::array<Parameter, 0>;
using ParameterValues = std::vector<double>;

}  // namespace amcore
