// What a scheme is given: arrays, operators, network, and how to execute.
#pragma once

#include <pybind11/pybind11.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "amcore/pass/task.hpp"
#include "amcore/scheme/declaration.hpp"
#include "arrays.hpp"
#include "operators.hpp"

namespace amcore::bindings {

using Arrays = std::map<std::string, py::array>;  // by name; a layer's without its number

// The arrays are kept alive; the scheme built on it refers to them.
struct Assembly {
  py::array X, Y;
  std::vector<Arrays> layers;
  Arrays numbers;  // of the state that belong to no layer
  std::vector<Operator<Activation>> activations;
  std::vector<bool> skip;
  Operator<Loss> loss;
  double loss_weight;
  std::vector<Operator<Regularizer>> weight_regularizers;
  std::vector<Operator<Regularizer>> activation_regularizers;
  int threads;
  py::object collective;
  bool keep_products;
  py::object sample_weight;  // or None

  // Refuses what no scheme takes.
  void check() const;
  // With the arrays checked for a scheme that declares itself so.
  template <class T> Problem<T> problem(const Declaration& scheme) const;
};

extern template Problem<float> Assembly::problem(const Declaration&) const;
extern template Problem<double> Assembly::problem(const Declaration&) const;

}  // namespace amcore::bindings
