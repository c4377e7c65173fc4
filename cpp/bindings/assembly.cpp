#include "assembly.hpp"

namespace amcore::bindings {
namespace {

template <class Names> std::string listed(const Names& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

// The names in `arrays`, in the order of `expected`, then the others.
std::vector<std::string> names_of(const Arrays& arrays, const std::vector<std::string>& expected) {
  std::vector<std::string> names;
  const auto is_expected = [&](const std::string& name) {
    return std::find(expected.begin(), expected.end(), name) != expected.end();
  };
  for (const std::string& name : expected)
    if (arrays.count(name)) names.push_back(name);
  for (const auto& [name, array] : arrays)
    if (!is_expected(name)) names.push_back(name);
  return names;
}

void expect_arrays(const std::string& where, const Arrays& arrays,
                   const std::vector<std::string>& expected) {
  const std::vector<std::string> names = names_of(arrays, expected);
  if (names != expected)
    throw py::value_error(where + ": expected the arrays " + listed(expected) + ", got " +
                          listed(names));
}

// Of a components: at least one row, at most as many as columns.
Index rows_of(const py::array& components, Index columns, const std::string& name) {
  if (components.ndim() != 2 || components.shape(0) < 1 || components.shape(0) > columns)
    throw py::value_error(name + ": expected 1 to " + std::to_string(columns) +
                          " rows, got shape " + to_string(shape_of(components)));
  return components.shape(0);
}

}  // namespace

void Assembly::check() const {
  const std::size_t N = layers.size();
  if (N == 0) throw py::value_error("layers: expected at least one, got none");
  one_per_layer(activations.size(), N, "activations");
  one_per_layer(skip.size(), N, "skip");
  one_per_layer(weight_regularizers.size(), N, "weight_regularizers");
  one_per_layer(activation_regularizers.size(), N, "activation_regularizers");
  positive(loss_weight, "loss_weight");
  for (const char* name : {"sum", "max", "before"})
    if (!collective.is_none() && !py::hasattr(collective, name))
      throw py::type_error("collective: expected an object with sum, max and before");
  if (X.ndim() != 2)
    throw py::value_error("X: expected two dimensions, got shape " + to_string(shape_of(X)));
  if (X.shape(0) < 1 && collective.is_none())
    throw py::value_error("X: expected at least one sample, got none");
}

template <class T> Problem<T> Assembly::problem(const Declaration& scheme) const {
  // Biases, and variables that are optional, have all layers or none.
  bool biases = false, options = false;
  for (const Variable& variable : scheme.variables) {
    const bool bias = layer_array<T>(variable.name).shape == LayerShape::bias;
    for (const Arrays& layer : layers) {
      const bool given = layer.count(variable.name) > 0;
      biases = biases || (bias && given);
      options = options || (variable.optional && given);
    }
  }
  Disjoint disjoint;
  disjoint.read(X, "X");
  disjoint.read(Y, "Y");
  std::vector<Layer<T>> checked;
  const Index n = X.shape(0);
  Index in = X.shape(1);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string number = std::to_string(i + 1);
    std::vector<std::string> names;
    for (const Variable& variable : scheme.variables) {
      const bool bias = layer_array<T>(variable.name).shape == LayerShape::bias;
      const bool here = (!variable.hidden || i + 1 < layers.size()) &&
                        (!variable.first || i == 0) && (!variable.upper || i > 0);
      if (here && (biases || !bias) && (options || !variable.optional))
        names.emplace_back(variable.name);
    }
    expect_arrays("layer " + number, layers[i], names);
    const py::array& W = layers[i].at("W");
    if (W.ndim() != 2)
      throw py::value_error("W" + number + ": expected two dimensions, got shape " +
                            to_string(shape_of(W)));
    const Index out = W.shape(0);
    expect_skip(skip[i], in, out, i);
    Layer<T> layer{in, out, skip[i], &activations[i].template get<T>(),
                   &weight_regularizers[i].template get<T>()};
    const Regularizer<T>& of_v = activation_regularizers[i].template get<T>();
    if (!of_v.by_row())
      throw py::value_error("activation_regularizers[" + std::to_string(i) +
                            "]: expected a sum over samples, got one that couples them");
    if (!(of_v.is_ridge() && of_v.ridge() == 0)) layer.activation_regularizer = &of_v;
    for (const std::string& name : names) {
      const LayerArray<T>& known = layer_array<T>(name);
      py::array array = layers[i].at(name);
      if (known.shape == LayerShape::components) layer.rank = rows_of(array, in, name + number);
      const Index border = biases ? 1 : 0;
      const auto shape_as = [&]() -> Shape {
        switch (known.shape) {
          case LayerShape::weight:
            return {out, in};
          case LayerShape::bias:
            return {out};
          case LayerShape::sample:
            return {n, out};
          case LayerShape::gram:
            return {in + border, in + border};
          case LayerShape::number:
            return {1};
          case LayerShape::components:
            return {layer.rank, in};
          case LayerShape::input:
            return {in};
        }
        return {};
      };
      const Shape shape = shape_as();
      layer.*known.pointer = mutable_data<T>(array, shape, name + number);
      disjoint.written(array, name + number);
    }
    checked.push_back(layer);
    in = out;
  }
  check_layers(scheme, checked);

  expect_arrays("numbers", numbers, {scheme.numbers.begin(), scheme.numbers.end()});
  std::vector<double*> of_state;
  for (const char* name : scheme.numbers) {
    py::array array = numbers.at(name);
    of_state.push_back(mutable_data<double>(array, {}, name));
    disjoint.written(array, name);
  }
  const T* weight = nullptr;
  if (!sample_weight.is_none()) {
    if (!scheme.sample_weights) throw py::value_error("sample_weight: expected None");
    weight = data<T>(sample_weight, {n}, "sample_weight");
    disjoint.read(sample_weight, "sample_weight");
  }
  return {n,
          data<T>(X, shape_of(X), "X"),
          data<T>(Y, {n, in}, "Y"),
          std::move(checked),
          loss.get<T>(),
          loss_weight,
          std::move(of_state),
          weight};
}

template Problem<float> Assembly::problem(const Declaration&) const;
template Problem<double> Assembly::problem(const Declaration&) const;

}  // namespace amcore::bindings
