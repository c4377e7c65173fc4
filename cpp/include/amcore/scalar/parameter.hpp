// How an operator declares its parameters:
//   static constexpr std::array parameters{Parameter{"slope", 0.01}};
#pragma once

#include <array>
#include <vector>

namespace amcore {

struct Parameter {
  const char* name;
  double initial;  // the default
};

using NoParameters = std::array<Parameter, 0>;
using ParameterValues = std::vector<double>;

}  // namespace amcore
