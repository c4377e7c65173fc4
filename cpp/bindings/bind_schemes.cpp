#include <pybind11/stl.h>

#include "amcore/scheme/three_split_bcd.hpp"
#include "arrays.hpp"
#include "bind.hpp"
#include "operators.hpp"

namespace amcore::bindings {
namespace {

using Arrays = std::tuple<py::array, std::optional<py::array>, py::array, py::array>;  // W, b, U, V

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

// Owns what a scheme refers to.
class Engine {
 public:
  Engine(py::array X, py::array Y, std::vector<Arrays> arrays,
         std::vector<Operator<Activation>> activations, std::vector<bool> skip, Operator<Loss> loss,
         double loss_weight, std::vector<Operator<Regularizer>> regularizers,
         std::vector<double> gamma, std::vector<double> rho, double alpha, int threads,
         py::object reducer, double inner_tol, int inner_iters)
      : X_(std::move(X)),
        Y_(std::move(Y)),
        arrays_(std::move(arrays)),
        activations_(std::move(activations)),
        loss_(std::move(loss)),
        regularizers_(std::move(regularizers)),
        reducer_(std::move(reducer)) {
    const std::size_t N = arrays_.size();
    if (N == 0) throw py::value_error("layers is empty");
    expect_one_per_layer(activations_, N, "activations");
    expect_one_per_layer(skip, N, "skip");
    expect_one_per_layer(regularizers_, N, "weight_regularizers");
    expect_one_per_layer(gamma, N, "gamma");
    expect_one_per_layer(rho, N, "rho");
    for (std::size_t i = 0; i < N; ++i) {
      if (!(gamma[i] > 0 && std::isfinite(gamma[i])))
        throw py::value_error("gamma must be positive and finite");
      if (!(rho[i] > 0 && std::isfinite(rho[i])))
        throw py::value_error("rho must be positive and finite");
    }
    if (!(alpha > 0 && std::isfinite(alpha)))
      throw py::value_error("alpha must be positive and finite");
    if (!(inner_tol >= 0)) throw py::value_error("inner_tol must be non-negative");
    if (inner_iters < 1) throw py::value_error("inner_iters must be at least 1");
    if (!(loss_weight > 0 && std::isfinite(loss_weight)))
      throw py::value_error("loss_weight must be positive and finite");
    if (X_.ndim() != 2 || X_.shape(0) < 1)
      throw py::value_error("X has shape " + to_string(shape_of(X_)) +
                            ", expected (n_samples, n_features) with n_samples > 0");
    dispatch(X_, "X", [&](auto zero) {
      using T = decltype(zero);
      const std::vector<Layer<T>> layers = check<T>(skip);
      const Index n = X_.shape(0);
      scheme_ = std::make_unique<ThreeSplitBCD<T>>(
          n, data<T>(X_, shape_of(X_), "X"), data<T>(Y_, {n, layers.back().out}, "Y"), layers,
          loss_.get<T>(),
          typename ThreeSplitBCD<T>::Options{
              loss_weight, gamma, rho, alpha, threads, {inner_tol, inner_iters}},
          reducer_);
    });
  }

  Scheme& scheme() { return *scheme_; }

 private:
  template <class T> std::vector<Layer<T>> check(const std::vector<bool>& skip) {
    Disjoint disjoint;
    disjoint.read(X_, "X");
    disjoint.read(Y_, "Y");
    std::vector<Layer<T>> layers;
    const Index n = X_.shape(0);
    Index in = X_.shape(1);
    for (std::size_t i = 0; i < arrays_.size(); ++i) {
      auto& [W, b, U, V] = arrays_[i];
      const std::string number = std::to_string(i + 1);
      const auto named = [&](const char* stem) { return stem + number; };
      if (W.ndim() != 2)
        throw py::value_error(named("W") + " has shape " + to_string(shape_of(W)) +
                              ", expected two dimensions");
      const Index out = W.shape(0);
      if (skip[i] && in != out)
        throw py::value_error("skip is set on layer " + number + ", whose widths " +
                              std::to_string(in) + " and " + std::to_string(out) + " differ");
      layers.push_back({in, out, skip[i], &activations_[i].template get<T>(),
                        &regularizers_[i].template get<T>(),
                        mutable_data<T>(W, {out, in}, named("W").c_str()),
                        b ? mutable_data<T>(*b, {out}, named("b").c_str()) : nullptr,
                        mutable_data<T>(U, {n, out}, named("U").c_str()),
                        mutable_data<T>(V, {n, out}, named("V").c_str())});
      disjoint.written(W, named("W"));
      if (b) disjoint.written(*b, named("b"));
      disjoint.written(U, named("U"));
      disjoint.written(V, named("V"));
      in = out;
    }
    return layers;
  }

  py::array X_, Y_;
  std::vector<Arrays> arrays_;
  std::vector<Operator<Activation>> activations_;
  Operator<Loss> loss_;
  std::vector<Operator<Regularizer>> regularizers_;
  CallableReducer reducer_;
  std::unique_ptr<Scheme> scheme_;
};

py::dict to_dict(const Named& named) {
  py::dict dict;
  for (const auto& [name, value] : named) dict[py::str(name)] = value;
  return dict;
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
      .def_property_readonly("seconds", [](const Report& r) { return to_dict(r.seconds); });

  py::class_<Engine>(m, "ThreeSplitBCD", py::module_local())
      .def(py::init<py::array, py::array, std::vector<Arrays>, std::vector<Operator<Activation>>,
                    std::vector<bool>, Operator<Loss>, double, std::vector<Operator<Regularizer>>,
                    std::vector<double>, std::vector<double>, double, int, py::object, double,
                    int>(),
           py::arg("X"), py::arg("Y"), py::arg("layers"), py::arg("activations"), py::arg("skip"),
           py::arg("loss"), py::arg("loss_weight"), py::arg("weight_regularizers"),
           py::arg("gamma"), py::arg("rho"), py::arg("alpha"), py::arg("num_threads"),
           py::arg("reducer"), py::arg("inner_tol") = InnerLoop{}.tolerance,
           py::arg("inner_iters") = InnerLoop{}.iterations)
      .def(
          "forward", [](Engine& e) { e.scheme().forward(); },
          py::call_guard<py::gil_scoped_release>())
      .def(
          "measure", [](Engine& e) { return e.scheme().measure(); },
          py::call_guard<py::gil_scoped_release>())
      .def(
          "sweep", [](Engine& e, bool measure) { return e.scheme().sweep(measure); },
          py::arg("measure"), py::call_guard<py::gil_scoped_release>());

  m.def("forward", &forward, py::arg("X"), py::arg("weights"), py::arg("activations"),
        py::arg("skip"), py::arg("out"), py::arg("num_threads"));
}

}  // namespace amcore::bindings
