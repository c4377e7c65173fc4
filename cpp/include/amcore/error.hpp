// What the core throws besides std::invalid_argument.
#pragma once

#include <limits>
#include <stdexcept>
#include <string>

namespace amcore {

// A factorisation failed or a value that is not finite appeared, in `block` of `layer` (1..N).
// What had been computed is not written: the state keeps its last finite values.
class NumericalError : public std::runtime_error {
 public:
  NumericalError(const std::string& what, int in_layer, std::string in_block,
                 double condition_estimate = std::numeric_limits<double>::quiet_NaN())
      : std::runtime_error(what),
        layer(in_layer),
        block(std::move(in_block)),
        condition(condition_estimate) {}

  int layer;
  std::string block;
  double condition;  // estimate of the condition number where a factorisation failed, else NaN
};

}  // namespace amcore
