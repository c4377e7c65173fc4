// How an operator declares its parameters:
//   static constexpr std::array parameters{Parameter{"slope", 0.01}};
// or, for one parameter that is a sequence of numbers,
//   static constexpr Sequence parameters{"coefficients", std::array{0.0, 1.0}};
#pragma once

#include <array>
#include <cstddef>
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

using NoParameters = std::array<Parameter, 0>;
using ParameterValues = std::vector<double>;

}  // namespace amcore
