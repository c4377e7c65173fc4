// Operators as Python sees them: one object for both types, made by name from the generated
// registries.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <type_traits>

#include "amcore/activation/activation.hpp"
#include "amcore/loss/loss.hpp"
#include "amcore/regularizer/regularizer.hpp"

namespace amcore::bindings {

template <template <class> class Family> struct Operator {
  std::shared_ptr<const Family<float>> float32;
  std::shared_ptr<const Family<double>> float64;

  template <class T> const Family<T>& get() const {
    if constexpr (std::is_same_v<T, float>)
      return *float32;
    else
      return *float64;
  }
};

}  // namespace amcore::bindings
