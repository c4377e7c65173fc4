#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>

#include "amcore/scheme/admm.hpp"
#include "amcore/scheme/mdlam.hpp"
#include "amcore/scheme/solve_many.hpp"
#include "amcore/scheme/three_split_bcd.hpp"
#include "amcore/scheme/two_split_bcd.hpp"
#include "arrays.hpp"
#include "bind.hpp"
#include "operators.hpp"

namespace amcore::bindings {
namespace {

using Arrays = std::map<std::string, py::array>;  // of one layer, by the names of its fields

// Sums over all processes through a Python callable that adds a 1-D array in place.
class CallableReducer final : public Reducer {
 public:
  explicit CallableReducer(py::object add) : add_(std::move(add)) {}
  void add(float* x, Index n) override { call(x, n); }
  void add(double* x, Index n) override { call(x, n); }

 private:
  template <class T> void call(T* x, Index n) {
    if (add_.is_none()) return;
    const py::gil_scoped_acquire gil;
    add_(py::array_t<T>({n}, x, py::capsule(x, [](void*) {})));  // a view
  }
  py::object add_;
};

template <class Value>
void expect_one_per_layer(const std::vector<Value>& values, std::size_t layers, const char* name) {
  if (values.size() != layers)
    throw py::value_error(std::string(name) + " has " + std::to_string(values.size()) +
                          " entries, expected one for each of " + std::to_string(layers) +
                          " layers");
}

void expect_positive(const std::vector<double>& values, std::size_t layers, const char* name) {
  expect_one_per_layer(values, layers, name);
  for (const double value : values) positive(value, name);
}

void expect_a_step(int steps, const char* name) {
  if (steps < 1) throw py::value_error(std::string(name) + " must be at least 1");
}

InnerLoop inner_loop(double tolerance, int iterations, const char* name) {
  nonnegative(tolerance, "inner_tol");
  expect_a_step(iterations, name);
  return {tolerance, iterations};
}

// Arrays and operators of one problem, as a scheme takes them.
struct Assembly {
  Assembly(py::array X_, py::array Y_, std::vector<Arrays> layers_,
           std::vector<Operator<Activation>> activations_, std::vector<bool> skip_,
           Operator<Loss> loss_, double loss_weight_,
           std::vector<Operator<Regularizer>> weight_regularizers_, int threads_,
           py::object reducer_, std::vector<Operator<Regularizer>> activation_regularizers_,
           bool keep_products_)
      : X(std::move(X_)),
        Y(std::move(Y_)),
        layers(std::move(layers_)),
        activations(std::move(activations_)),
        skip(std::move(skip_)),
        loss(std::move(loss_)),
        loss_weight(loss_weight_),
        weight_regularizers(std::move(weight_regularizers_)),
        threads(threads_),
        reducer(std::move(reducer_)),
        activation_regularizers(std::move(activation_regularizers_)),
        keep_products(keep_products_) {
    const std::size_t N = layers.size();
    if (N == 0) throw py::value_error("layers is empty");
    expect_one_per_layer(activations, N, "activations");
    expect_one_per_layer(skip, N, "skip");
    expect_one_per_layer(weight_regularizers, N, "weight_regularizers");
    if (!activation_regularizers.empty())
      expect_one_per_layer(activation_regularizers, N, "activation_regularizers");
    positive(loss_weight, "loss_weight");
    if (X.ndim() != 2 || X.shape(0) < 1)
      throw py::value_error("X has shape " + to_string(shape_of(X)) +
                            ", expected (n_samples, n_features) with n_samples > 0");
  }

  // The arrays checked: every layer has those of `variables` (its bias may be missing), and those
  // of `hidden` unless it is the last.
  template <class T> Problem<T> problem(const std::vector<std::string>& variables,
                                        const std::vector<std::string>& hidden) const {
    Disjoint disjoint;
    disjoint.read(X, "X");
    disjoint.read(Y, "Y");
    std::vector<Layer<T>> checked;
    const Index n = X.shape(0);
    Index in = X.shape(1);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const std::string number = std::to_string(i + 1);
      const auto W = layers[i].find("W");
      if (W == layers[i].end() || W->second.ndim() != 2)
        throw py::value_error("W" + number + " must be an array of two dimensions");
      const Index out = W->second.shape(0);
      if (skip[i] && in != out)
        throw py::value_error("skip is set on layer " + number + ", whose widths " +
                              std::to_string(in) + " and " + std::to_string(out) + " differ");
      Layer<T> layer{in, out, skip[i], &activations[i].template get<T>(),
                     &weight_regularizers[i].template get<T>()};
      if (!activation_regularizers.empty()) {
        const Regularizer<T>& of_v = activation_regularizers[i].template get<T>();
        if (!of_v.by_row())
          throw py::value_error("the activation regularizer of layer " + number +
                                " couples the samples");
        if (!(of_v.is_ridge() && of_v.ridge() == 0)) layer.activation_regularizer = &of_v;
      }
      const std::map<std::string, std::pair<T**, std::vector<Index>>> fields{
          {"W", {&layer.W, {out, in}}},          {"b", {&layer.b, {out}}},
          {"U", {&layer.U, {n, out}}},           {"V", {&layer.V, {n, out}}},
          {"Lambda", {&layer.Lambda, {n, out}}}, {"W_old", {&layer.W_old, {out, in}}},
          {"b_old", {&layer.b_old, {out}}},      {"V_old", {&layer.V_old, {n, out}}}};
      const bool last = i + 1 == layers.size();
      std::size_t found = 0;
      for (const auto* names : {&variables, &hidden}) {
        if (last && names == &hidden) continue;
        for (const std::string& name : *names) {
          const auto given = layers[i].find(name);
          const bool optional = name[0] == 'b';
          if (given == layers[i].end()) {
            if (optional) continue;
            throw py::value_error("layer " + number + " has no array " + name);
          }
          const auto& [pointer, shape] = fields.at(name);
          const std::string label = name + number;
          py::array array = given->second;
          *pointer = mutable_data<T>(array, shape, label.c_str());
          disjoint.written(array, label);
          ++found;
        }
      }
      if (found != layers[i].size())
        throw py::value_error("layer " + number + " has an array that the scheme does not know");
      if (layer.b_old && !layer.b) throw py::value_error("layer " + number + " has no array b");
      checked.push_back(layer);
      in = out;
    }
    return {n,
            data<T>(X, shape_of(X), "X"),
            data<T>(Y, {n, in}, "Y"),
            std::move(checked),
            loss.get<T>(),
            loss_weight};
  }

  py::array X, Y;
  std::vector<Arrays> layers;
  std::vector<Operator<Activation>> activations;
  std::vector<bool> skip;
  Operator<Loss> loss;
  double loss_weight;
  std::vector<Operator<Regularizer>> weight_regularizers;
  int threads;
  py::object reducer;
  std::vector<Operator<Regularizer>> activation_regularizers;  // or empty
  bool keep_products;
};

// A scheme with what it refers to.
class Engine {
 public:
  explicit Engine(Assembly assembly)
      : assembly_(std::move(assembly)), reducer_(assembly_.reducer) {}

  // `options(zero)`: those of Of<T>, for the type T of its argument.
  template <template <class> class Of, class Options>
  static std::unique_ptr<Engine> make(const Assembly& assembly,
                                      const std::vector<std::string>& variables,
                                      const std::vector<std::string>& hidden, Options&& options) {
    auto engine = std::make_unique<Engine>(assembly);
    dispatch(assembly.X, "X", [&](auto zero) {
      using T = decltype(zero);
      engine->scheme_ = std::make_unique<Of<T>>(
          engine->assembly_.template problem<T>(variables, hidden), options(zero),
          Execution{assembly.threads, engine->reducer_, assembly.keep_products});
    });
    return engine;
  }

  Scheme& scheme() { return *scheme_; }

 private:
  const Assembly assembly_;
  CallableReducer reducer_;
  std::unique_ptr<Scheme> scheme_;
};

std::unique_ptr<Engine> three_split_bcd(const Assembly& assembly, const std::vector<double>& gamma,
                                        const std::vector<double>& rho, double alpha,
                                        double inner_tol, int inner_iters) {
  expect_positive(gamma, assembly.layers.size(), "gamma");
  expect_positive(rho, assembly.layers.size(), "rho");
  positive(alpha, "alpha");
  const InnerLoop inner = inner_loop(inner_tol, inner_iters, "inner_iters");
  return Engine::make<ThreeSplitBCD>(assembly, {"W", "b", "U", "V"}, {}, [&](auto zero) {
    return typename ThreeSplitBCD<decltype(zero)>::Options{gamma, rho, alpha, inner};
  });
}

using MajorizerNumbers = std::vector<std::array<double, 3>>;  // base, slope, center

std::vector<Majorizer> majorizer_of_layers(const MajorizerNumbers& numbers, std::size_t layers) {
  expect_one_per_layer(numbers, layers, "majorizers");
  std::vector<Majorizer> bounds;
  for (const auto& [base, slope, center] : numbers) {
    positive(base, "the base of a majorizer");
    nonnegative(slope, "the slope of a majorizer");
    if (!std::isfinite(center)) throw py::value_error("the center of a majorizer must be finite");
    bounds.push_back({base, slope, center});
  }
  return bounds;
}

// What schemes refuse that take no skip connections and run in one process.
void expect_no_skip(const Assembly& assembly, const char* scheme) {
  if (std::find(assembly.skip.begin(), assembly.skip.end(), true) != assembly.skip.end())
    throw py::value_error(std::string("skip must be False: ") + scheme +
                          " takes no skip connections");
  if (!assembly.reducer.is_none())
    throw py::value_error(std::string("reducer must be None: ") + scheme +
                          " runs in one process only");
}

std::unique_ptr<Engine> two_split_bcd(const Assembly& assembly, const std::vector<double>& gamma,
                                      double alpha, int inner_iters,
                                      const MajorizerNumbers& majorizers, double inner_tol,
                                      int inner_steps) {
  const std::size_t N = assembly.layers.size();
  expect_positive(gamma, N, "gamma");
  positive(alpha, "alpha");
  expect_a_step(inner_iters, "inner_iters");
  const std::vector<Majorizer> bounds = majorizer_of_layers(majorizers, N);
  const InnerLoop inner = inner_loop(inner_tol, inner_steps, "inner_steps");
  expect_no_skip(assembly, "two_split_bcd");
  return Engine::make<TwoSplitBCD>(assembly, {"W", "b", "V"}, {}, [&](auto zero) {
    return typename TwoSplitBCD<decltype(zero)>::Options{gamma, alpha, inner_iters, bounds, inner};
  });
}

std::unique_ptr<Engine> admm(const Assembly& assembly, const std::vector<double>& beta,
                             const std::vector<double>& xi, const MajorizerNumbers& majorizers,
                             bool backprop) {
  const std::size_t N = assembly.layers.size();
  expect_positive(beta, N, "beta");
  expect_one_per_layer(xi, N, "xi");
  for (const double value : xi) nonnegative(value, "xi");
  const std::vector<Majorizer> bounds = majorizer_of_layers(majorizers, N);
  expect_no_skip(assembly, "admm");
  return Engine::make<ADMM>(assembly, {"W", "b", "V", "Lambda", "V_old"}, {}, [&](auto zero) {
    return typename ADMM<decltype(zero)>::Options{beta, xi, bounds, backprop};
  });
}

std::unique_ptr<Engine> mdlam(const Assembly& assembly, py::array momentum,
                              const std::vector<double>& rho, double epsilon, double shrink,
                              double floor, double delta) {
  expect_positive(rho, assembly.layers.size(), "rho");
  positive(epsilon, "epsilon");
  positive(shrink, "shrink");
  positive(floor, "floor");
  nonnegative(delta, "delta");
  const std::size_t hidden = assembly.layers.size() - 1;
  for (std::size_t i = 0; i < hidden; ++i)
    if (!assembly.activations[i].get<double>().invertible())
      throw py::value_error("the activation of layer " + std::to_string(i + 1) + " has no inverse");
  if (!assembly.activations[hidden].get<double>().is_identity())
    throw py::value_error("the activation of the last layer must be the identity");
  if (std::find(assembly.skip.begin(), assembly.skip.end(), true) != assembly.skip.end())
    throw py::value_error("skip is not supported");
  const bool extrapolates = assembly.layers[0].count("W_old") > 0;
  std::vector<std::string> variables{"W", "b", "U"}, below{"V"};
  if (extrapolates) {
    variables.insert(variables.end(), {"W_old", "b_old"});
    below.emplace_back("V_old");
  }
  return Engine::make<MDLAM>(assembly, variables, below, [&](auto zero) {
    using T = decltype(zero);
    Disjoint disjoint;
    disjoint.written(momentum, "momentum");
    for (const Arrays& layer : assembly.layers)
      for (const auto& [name, array] : layer) disjoint.read(array, name);
    return typename MDLAM<T>::Options{rho,   epsilon, shrink,
                                      floor, delta,   mutable_data<T>(momentum, {2}, "momentum")};
  });
}

py::dict to_dict(const Named& named) {
  py::dict dict;
  for (const auto& [name, value] : named) dict[py::str(name)] = value;
  return dict;
}

// The columns of a history by the names of a trace.
py::dict columns(const History& history) {
  py::dict named;
  if (history.rows == 0) return named;
  const auto width = static_cast<Index>(history.numbers.size()) / history.rows;
  Index column = 0;
  const auto add = [&](const std::string& name) {
    py::array_t<double> values(history.rows);
    double* const to = values.mutable_data();
    for (Index row = 0; row < history.rows; ++row)
      to[row] = history.numbers[static_cast<std::size_t>(row * width + column)];
    named[py::str(name)] = values;
    ++column;
  };
  for (const char* name : {"time", "objective", "subgradient_distance", "decrease"}) add(name);
  const Report& r = *history.report;
  const std::pair<const char*, const Named*> families[] = {{"parts/", &r.parts},
                                                           {"distance/", &r.distance},
                                                           {"step_norm/", &r.step_norm},
                                                           {"monitors/", &r.monitors},
                                                           {"seconds/", &r.seconds}};
  for (const auto& [family, names] : families)
    for (const auto& [name, value] : *names) add(family + name);
  return named;
}

// Of every run: its history by columns, and the error that ended it or None.
py::list solve_many(const std::vector<Engine*>& engines, Index sweeps, double tolerance,
                    Index measure_every, int threads) {
  nonnegative(tolerance, "tol");
  if (sweeps < 0 || measure_every < 1)
    throw py::value_error("max_iter must be at least 0 and measure_every at least 1");
  std::vector<Scheme*> schemes;
  for (Engine* const engine : engines) {
    Scheme* const scheme = &engine->scheme();
    if (std::find(schemes.begin(), schemes.end(), scheme) != schemes.end())
      throw py::value_error("an engine is given twice");
    schemes.push_back(scheme);
  }
  std::vector<History> histories(engines.size());
  std::atomic<bool> stop{false};
  auto asked = std::chrono::steady_clock::now();
  {
    const py::gil_scoped_release release;
    // Signals are Python's to handle, on the thread that called; looking for them costs the lock.
    const auto interrupted = [&](int thread) {
      const auto now = std::chrono::steady_clock::now();
      if (thread == 0 && now - asked > std::chrono::milliseconds(50)) {
        asked = now;
        const py::gil_scoped_acquire gil;
        if (PyErr_CheckSignals() != 0) {
          PyErr_Clear();
          stop = true;
        }
      }
      return stop.load(std::memory_order_relaxed);
    };
    solve_many(schemes, {sweeps, tolerance, measure_every}, threads, histories, interrupted);
  }
  py::list runs;
  for (const History& history : histories) {
    py::object error = py::none();
    if (history.error) {
      try {
        std::rethrow_exception(history.error);
      } catch (const NumericalError& caught) {
        error = numerical_error(caught);
      }
    }
    runs.append(py::make_tuple(columns(history), history.marks, error));
  }
  return runs;
}

void forward(const py::array& X,
             const std::vector<std::tuple<py::array, std::optional<py::array>>>& weights,
             const std::vector<Operator<Activation>>& activations, const std::vector<bool>& skip,
             py::array out, int threads) {
  const std::size_t N = weights.size();
  if (N == 0) throw py::value_error("weights is empty");
  if (X.ndim() != 2)
    throw py::value_error("X has shape " + to_string(shape_of(X)) + ", expected two dimensions");
  expect_one_per_layer(activations, N, "activations");
  expect_one_per_layer(skip, N, "skip");
  dispatch(X, "X", [&](auto zero) {
    using T = decltype(zero);
    const Index n = X.shape(0);
    std::vector<Layer<T>> layers;
    Index in = X.shape(1);
    for (std::size_t i = 0; i < N; ++i) {
      const auto& [W, b] = weights[i];
      const std::string number = std::to_string(i + 1);
      if (W.ndim() != 2) throw py::value_error("W" + number + " must have two dimensions");
      const Index width = W.shape(0);
      if (skip[i] && in != width)
        throw py::value_error("skip is set on layer " + number + ", whose widths differ");
      // The forward pass only reads the weights.
      layers.push_back({in, width, skip[i], &activations[i].template get<T>(), nullptr,
                        const_cast<T*>(data<T>(W, {width, in}, ("W" + number).c_str())),
                        b ? const_cast<T*>(data<T>(*b, {width}, ("b" + number).c_str())) : nullptr,
                        nullptr, nullptr});
      in = width;
    }
    const T* const x = data<T>(X, shape_of(X), "X");
    T* const to = mutable_data<T>(out, {n, in}, "out");
    Disjoint disjoint;
    disjoint.written(out, "out");
    disjoint.read(X, "X");
    for (const auto& [W, b] : weights) {
      disjoint.read(W, "a weight matrix");
      if (b) disjoint.read(*b, "a bias");
    }
    const py::gil_scoped_release release;
    forward_pass(layers, n, x, to, threads);
  });
}

}  // namespace

void bind_schemes(py::module_& m) {
  py::class_<Report>(m, "Report", py::module_local())
      .def_readonly("objective", &Report::objective)
      .def_readonly("decrease", &Report::decrease)
      .def_readonly("subgradient_distance", &Report::subgradient_distance)
      .def_property_readonly("parts", [](const Report& r) { return to_dict(r.parts); })
      .def_property_readonly("distance", [](const Report& r) { return to_dict(r.distance); })
      .def_property_readonly("step_norm", [](const Report& r) { return to_dict(r.step_norm); })
      .def_property_readonly("monitors", [](const Report& r) { return to_dict(r.monitors); })
      .def_property_readonly("seconds", [](const Report& r) { return to_dict(r.seconds); })
      .def_readonly("marks", &Report::marks);

  py::class_<Assembly>(m, "Assembly", py::module_local())
      .def(py::init<py::array, py::array, std::vector<Arrays>, std::vector<Operator<Activation>>,
                    std::vector<bool>, Operator<Loss>, double, std::vector<Operator<Regularizer>>,
                    int, py::object, std::vector<Operator<Regularizer>>, bool>(),
           py::arg("X"), py::arg("Y"), py::arg("layers"), py::arg("activations"), py::arg("skip"),
           py::arg("loss"), py::arg("loss_weight"), py::arg("weight_regularizers"),
           py::arg("num_threads"), py::arg("reducer"),
           py::arg("activation_regularizers") = std::vector<Operator<Regularizer>>{},
           py::arg("keep_products") = true);

  py::class_<Engine>(m, "Engine", py::module_local())
      .def(
          "forward", [](Engine& e) { e.scheme().forward(); },
          py::call_guard<py::gil_scoped_release>())
      .def(
          "measure", [](Engine& e) { return e.scheme().measure(); },
          py::call_guard<py::gil_scoped_release>())
      .def(
          "sweep", [](Engine& e, bool measure) { return e.scheme().sweep(measure); },
          py::arg("measure"), py::call_guard<py::gil_scoped_release>());

  m.def("three_split_bcd", &three_split_bcd, py::arg("assembly"), py::arg("gamma"), py::arg("rho"),
        py::arg("alpha"), py::arg("inner_tol") = InnerLoop{}.tolerance,
        py::arg("inner_iters") = InnerLoop{}.iterations);
  m.def("mdlam", &mdlam, py::arg("assembly"), py::arg("momentum"), py::arg("rho"),
        py::arg("epsilon"), py::arg("shrink"), py::arg("floor"), py::arg("delta"),
        py::keep_alive<0, 2>());
  m.def("solve_many", &solve_many, py::arg("engines"), py::arg("max_iter"), py::arg("tol"),
        py::arg("measure_every"), py::arg("num_threads"));
  m.def("two_split_bcd", &two_split_bcd, py::arg("assembly"), py::arg("gamma"), py::arg("alpha"),
        py::arg("inner_iters"), py::arg("majorizers"), py::arg("inner_tol") = InnerLoop{}.tolerance,
        py::arg("inner_steps") = InnerLoop{}.iterations);
  m.def("admm", &admm, py::arg("assembly"), py::arg("beta"), py::arg("xi"), py::arg("majorizers"),
        py::arg("backprop"));
  m.def("forward", &forward, py::arg("X"), py::arg("weights"), py::arg("activations"),
        py::arg("skip"), py::arg("out"), py::arg("num_threads"));
}

}  // namespace amcore::bindings
