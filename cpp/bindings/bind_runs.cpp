#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "amcore/pass/forward.hpp"
#include "amcore/scheme/solve_many.hpp"
#include "arrays.hpp"
#include "bind.hpp"
#include "engine.hpp"
#include "integer.hpp"

namespace amcore::bindings {
namespace {

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

// The error that ended a run, or None.
py::object python_error(const std::exception_ptr& error) {
  if (!error) return py::none();
  try {
    std::rethrow_exception(error);
  } catch (const NumericalError& caught) {
    return numerical_error(caught);
  } catch (const std::bad_alloc&) {
    return py::reinterpret_borrow<py::object>(PyExc_MemoryError)();
  }
}

// Of every run: its history by columns, and the error that ended it or None.
py::list solve_many(const std::vector<Engine*>& engines, Integer<Index, "max_iter", 0> sweeps,
                    double tolerance, Integer<Index, "measure_every", 1> measure_every,
                    Threads threads, const py::function& stops) {
  nonnegative(tolerance, "tol");
  std::vector<Scheme*> schemes;
  for (Engine* const engine : engines) {
    Scheme* const scheme = &engine->scheme();
    if (std::find(schemes.begin(), schemes.end(), scheme) != schemes.end())
      throw py::value_error("engines: expected each of them once, got one twice");
    schemes.push_back(scheme);
  }
  std::vector<History> histories(engines.size());
  std::atomic<bool> stop{false};
  std::exception_ptr raised;  // by the handler of a signal
  auto asked = std::chrono::steady_clock::now();
  {
    const ReleaseGil release;
    // Signals are Python's to handle, on the thread that called; looking for them costs the lock.
    const auto interrupted = [&](int thread) {
      const auto now = std::chrono::steady_clock::now();
      if (thread == 0 && !stop && now - asked > std::chrono::milliseconds(50)) {
        asked = now;
        try {
          with_gil([&] {
            if (PyErr_CheckSignals() != 0) throw py::error_already_set();
            stop = stops().cast<bool>();
          });
        } catch (...) {
          raised = std::current_exception();
          stop = true;
        }
      }
      return stop.load(std::memory_order_relaxed);
    };
    solve_many(schemes, {sweeps, tolerance, measure_every}, threads, histories, interrupted);
  }
  if (raised) std::rethrow_exception(raised);
  py::list runs;
  for (const History& history : histories)
    runs.append(py::make_tuple(columns(history), history.marks, python_error(history.error)));
  return runs;
}

void forward(const py::array& X,
             const std::vector<std::tuple<py::array, std::optional<py::array>>>& weights,
             const std::vector<Operator<Activation>>& activations, const std::vector<bool>& skip,
             py::array out, Threads threads) {
  const std::size_t N = weights.size();
  if (N == 0) throw py::value_error("weights: expected at least one layer, got none");
  if (X.ndim() != 2)
    throw py::value_error("X: expected two dimensions, got shape " + to_string(shape_of(X)));
  one_per_layer(activations.size(), N, "activations");
  one_per_layer(skip.size(), N, "skip");
  dispatch(X, "X", [&](auto zero) {
    using T = decltype(zero);
    const Index n = X.shape(0);
    std::vector<Layer<T>> layers;
    Index in = X.shape(1);
    for (std::size_t i = 0; i < N; ++i) {
      const auto& [W, b] = weights[i];
      const std::string number = std::to_string(i + 1);
      if (W.ndim() != 2)
        throw py::value_error("W" + number + ": expected two dimensions, got shape " +
                              to_string(shape_of(W)));
      const Index width = W.shape(0);
      expect_skip(skip[i], in, width, i);
      // The forward pass only reads the weights.
      layers.push_back({in, width, skip[i], &activations[i].template get<T>(), nullptr,
                        const_cast<T*>(data<T>(W, {width, in}, "W" + number)),
                        b ? const_cast<T*>(data<T>(*b, {width}, "b" + number)) : nullptr, nullptr,
                        nullptr});
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
    const ReleaseGil release;
    forward_pass(layers, n, x, to, threads);
  });
}

}  // namespace

void bind_runs(py::module_& m) {
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

  m.def("solve_many", &solve_many, py::arg("engines"), py::arg("max_iter"), py::arg("tol"),
        py::arg("measure_every"), py::arg("num_threads"), py::arg("stops"));
  m.def("forward", &forward, py::arg("X"), py::arg("weights"), py::arg("activations"),
        py::arg("skip"), py::arg("out"), py::arg("num_threads"));
}

}  // namespace amcore::bindings
