// What the core throws besides std::invalid_argument.
#pragma once

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace amcore {

// A factorisation failed or a value that is not finite appeared, in `block` of `layer` (1..N, or 0
// where there are no layers).
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

// The system of `variables`, a block, could not be factorised.
inline NumericalError not_positive_definite(const std::string& variables, int layer,
                                            const std::string& block, double condition) {
  const std::string system = "the least-squares system of the " + variables;
  return {
      system + (std::isnan(condition) ? " is not finite" : " is not positive definite to rounding"),
      layer, block, condition};
}

}  // namespace amcore
