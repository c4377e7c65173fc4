// What a scheme says of itself to those who build it by name: the arrays it updates, what it takes
// and, in its Options, their names:
//
//   static Declaration declaration();
//   struct Options {
//     …
//     template <class Visit> void each(Visit&& option) { option("alpha", alpha, Range::positive); }
//   };
//
// The type of an option tells what is given: a number (within a range), an integer ≥ 1, a flag, a
// word, a vector of numbers, one for every layer, or an inner loop.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "amcore/pass/task.hpp"

namespace amcore {

enum class Range { nonnegative, positive };

// A variable of a layer, an array of its name.
struct Variable {
  const char* name;
  bool hidden = false;    // the output layer has none
  bool first = false;     // only the first layer has it
  bool upper = false;     // the first layer has none
  bool optional = false;  // all such variables are given, or none of them
};

struct Declaration {
  std::vector<Variable> variables;
  std::vector<const char*> numbers = {};  // of the state that belong to no layer, in this order
  bool skip = false;                      // takes connections that skip a layer
  bool activation_regularizers = false;   // takes s_i
  bool sample_weights = false;            // takes weights of samples
  bool ridge = false;                     // takes no r_i but 0 and ridges
  bool identity_output = false;           // σ_N must be the identity
  bool invertible = false;                // the other σ_i must have an inverse
};

// out × in; out; out × n; (in + 1)², or in² without biases; one number; any number × in; in
enum class LayerShape { weight, bias, sample, gram, number, components, input };

// The arrays of a layer by name.
template <class T> struct LayerArray {
  const char* name;
  LayerShape shape;
  T* Layer<T>::* pointer;
};
template <class T> inline constexpr LayerArray<T> layer_arrays[] = {
    {"W", LayerShape::weight, &Layer<T>::W},
    {"b", LayerShape::bias, &Layer<T>::b},
    {"U", LayerShape::sample, &Layer<T>::U},
    {"V", LayerShape::sample, &Layer<T>::V},
    {"Lambda", LayerShape::sample, &Layer<T>::Lambda},
    {"W_old", LayerShape::weight, &Layer<T>::W_old},
    {"b_old", LayerShape::bias, &Layer<T>::b_old},
    {"V_old", LayerShape::sample, &Layer<T>::V_old},
    {"G", LayerShape::gram, &Layer<T>::G},
    {"v", LayerShape::number, &Layer<T>::v},
    {"components", LayerShape::components, &Layer<T>::components},
    {"center", LayerShape::input, &Layer<T>::center}};

template <class T> const LayerArray<T>& layer_array(const std::string& name) {
  for (const LayerArray<T>& array : layer_arrays<T>)
    if (name == array.name) return array;
  throw std::invalid_argument("no array of a layer is named " + name);
}

// Refuses layers that a scheme does not take.
template <class T>
void check_layers(const Declaration& scheme, const std::vector<Layer<T>>& layers) {
  const auto refuse = [](const char* argument, const char* expected, std::size_t layer) {
    throw std::invalid_argument(std::string(argument) + ": expected " + expected + ", got another" +
                                " in layer " + std::to_string(layer + 1));
  };
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Layer<T>& l = layers[i];
    const bool top = i + 1 == layers.size();
    if (l.skip && !scheme.skip) refuse("skip", "False", i);
    if (l.activation_regularizer && !scheme.activation_regularizers)
      refuse("activation_regularizers", "none", i);
    if (scheme.ridge && !l.regularizer->is_ridge())
      refuse("weight_regularizers", "none or ridge", i);
    if (scheme.identity_output && top && !l.activation->is_identity())
      refuse("activations", "identity at the output", i);
    if (scheme.invertible && !top && !l.activation->invertible())
      refuse("activations", "ones with an inverse", i);
  }
}

}  // namespace amcore
