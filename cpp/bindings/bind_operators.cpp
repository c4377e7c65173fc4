#include <pybind11/stl.h>

#include "amcore/activation/registry.hpp"
#include "amcore/loss/registry.hpp"
#include "amcore/regularizer/registry.hpp"
#include "arrays.hpp"
#include "bind.hpp"
#include "operators.hpp"

namespace amcore::bindings {
namespace {

// One parameter that is a sequence, rather than a number of single ones.
template <class Op> constexpr bool takes_sequence = requires { Op::parameters.name; };

template <class Op> py::list parameters_of() {
  py::list list;
  if constexpr (takes_sequence<Op>)
    list.append(py::make_tuple(Op::parameters.name, py::tuple(py::cast(Op::parameters.initial))));
  else
    for (const Parameter& parameter : Op::parameters)
      list.append(py::make_tuple(parameter.name, parameter.initial));
  return list;
}

template <class Op, template <class> class Family, template <class, class> class Of>
Operator<Family> make(const std::string& name, ParameterValues values) {
  if constexpr (!takes_sequence<Op>)
    if (values.size() != Op::parameters.size())
      throw py::value_error(name + " takes " + std::to_string(Op::parameters.size()) +
                            " parameters, got " + std::to_string(values.size()));
  return {std::make_shared<const Of<Op, float>>(values),
          std::make_shared<const Of<Op, double>>(values)};
}

#define AMCORE_MAKE_ACTIVATION(stem, Op) \
  if (name == #stem) return make<activation::Op, Activation, ActivationOf>(name, values);
#define AMCORE_MAKE_LOSS(stem, Op) \
  if (name == #stem) return make<loss::Op, Loss, LossOf>(name, values);
#define AMCORE_MAKE_REGULARIZER(stem, Op) \
  if (name == #stem) return make<regularizer::Op, Regularizer, RegularizerOf>(name, values);

Operator<Activation> make_activation(const std::string& name, const ParameterValues& values) {
  AMCORE_ACTIVATION_LIST(AMCORE_MAKE_ACTIVATION)
  throw py::value_error("no activation is named '" + name + "'");
}
Operator<Loss> make_loss(const std::string& name, const ParameterValues& values) {
  AMCORE_LOSS_LIST(AMCORE_MAKE_LOSS)
  throw py::value_error("no loss is named '" + name + "'");
}
Operator<Regularizer> make_regularizer(const std::string& name, const ParameterValues& values) {
  AMCORE_REGULARIZER_LIST(AMCORE_MAKE_REGULARIZER)
  throw py::value_error("no regularizer is named '" + name + "'");
}

py::dict registry() {
  py::dict activations, losses, regularizers, all;
#define AMCORE_LIST_ACTIVATION(stem, Op) activations[#stem] = parameters_of<activation::Op>();
#define AMCORE_LIST_LOSS(stem, Op) losses[#stem] = parameters_of<loss::Op>();
#define AMCORE_LIST_REGULARIZER(stem, Op) regularizers[#stem] = parameters_of<regularizer::Op>();
  AMCORE_ACTIVATION_LIST(AMCORE_LIST_ACTIVATION)
  AMCORE_LOSS_LIST(AMCORE_LIST_LOSS)
  AMCORE_REGULARIZER_LIST(AMCORE_LIST_REGULARIZER)
  all["activation"] = activations;
  all["loss"] = losses;
  all["regularizer"] = regularizers;
  return all;
}

Side side_of(const std::string& side) {
  if (side == "left") return Side::left;
  if (side == "right") return Side::right;
  throw py::value_error("side is '" + side + "', expected 'left' or 'right'");
}

// The rows and columns of a loss's arrays: (n, K) here, K × n in the core.
std::pair<Index, Index> outputs_and_samples(const py::array& v) {
  if (v.ndim() != 2 || v.shape(1) == 0)
    throw py::value_error("v: expected shape (n, K) with K > 0, got shape " +
                          to_string(shape_of(v)));
  return {v.shape(1), v.shape(0)};
}

// The rows and columns of a matrix; a vector is one row.
std::pair<Index, Index> rows_and_columns(const py::array& x) {
  if (x.ndim() == 1) return {1, x.shape(0)};
  if (x.ndim() == 2) return {x.shape(0), x.shape(1)};
  throw py::value_error("x: expected one or two dimensions, got shape " + to_string(shape_of(x)));
}

}  // namespace

void bind_operators(py::module_& m) {
  m.def("registry", &registry);

  py::class_<Operator<Activation>>(m, "Activation", py::module_local())
      .def(py::init(&make_activation), py::arg("name"), py::arg("parameters") = ParameterValues{})
      .def(
          "value",
          [](const Operator<Activation>& self, const py::array& u, py::array out) {
            dispatch(u, "u", [&](auto zero) {
              using T = decltype(zero);
              self.get<T>().value(u.size(), data<T>(u, shape_of(u), "u"),
                                  output<T>(out, shape_of(u), {&u}));
            });
          },
          py::arg("u"), py::arg("out"))
      .def(
          "derivative",
          [](const Operator<Activation>& self, const py::array& u, const std::string& side,
             py::array out) {
            dispatch(u, "u", [&](auto zero) {
              using T = decltype(zero);
              self.get<T>().derivative(u.size(), data<T>(u, shape_of(u), "u"), side_of(side),
                                       output<T>(out, shape_of(u), {&u}));
            });
          },
          py::arg("u"), py::arg("side"), py::arg("out"))
      .def(
          "difference",
          [](const Operator<Activation>& self, const py::array& a, const py::array& b,
             py::array out) {
            dispatch(a, "a", [&](auto zero) {
              using T = decltype(zero);
              self.get<T>().difference(a.size(), data<T>(a, shape_of(a), "a"),
                                       data<T>(b, shape_of(a), "b"),
                                       output<T>(out, shape_of(a), {&a, &b}));
            });
          },
          py::arg("a"), py::arg("b"), py::arg("out"))
      .def(
          "prox",
          [](const Operator<Activation>& self, const py::array& v, const py::array& z,
             double weight, py::array out) {
            positive(weight, "weight");
            dispatch(v, "v", [&](auto zero) {
              using T = decltype(zero);
              self.get<T>().prox(v.size(), data<T>(v, shape_of(v), "v"),
                                 data<T>(z, shape_of(v), "z"), static_cast<T>(weight),
                                 output<T>(out, shape_of(v), {&v, &z}));
            });
          },
          py::arg("v"), py::arg("z"), py::arg("weight"), py::arg("out"));

  py::class_<Operator<Loss>>(m, "Loss", py::module_local())
      .def(py::init(&make_loss), py::arg("name"), py::arg("parameters") = ParameterValues{})
      .def(
          "value",
          [](const Operator<Loss>& self, const py::array& v, const py::array& y) {
            return dispatch(v, "v", [&](auto zero) {
              using T = decltype(zero);
              const auto [k, n] = outputs_and_samples(v);
              return self.get<T>().value(k, n, data<T>(v, {n, k}, "v"), data<T>(y, {n, k}, "y"));
            });
          },
          py::arg("v"), py::arg("y"))
      .def(
          "gradient",
          [](const Operator<Loss>& self, const py::array& v, const py::array& y, py::array out) {
            dispatch(v, "v", [&](auto zero) {
              using T = decltype(zero);
              const auto [k, n] = outputs_and_samples(v);
              self.get<T>().gradient(k, n, data<T>(v, {n, k}, "v"), data<T>(y, {n, k}, "y"),
                                     Side::right, output<T>(out, {n, k}, {&v, &y}));
            });
          },
          py::arg("v"), py::arg("y"), py::arg("out"))
      .def(
          "difference",
          [](const Operator<Loss>& self, const py::array& a, const py::array& b,
             const py::array& y) {
            return dispatch(a, "a", [&](auto zero) {
              using T = decltype(zero);
              const auto [k, n] = outputs_and_samples(a);
              return self.get<T>().difference(k, n, data<T>(a, {n, k}, "a"),
                                              data<T>(b, {n, k}, "b"), data<T>(y, {n, k}, "y"));
            });
          },
          py::arg("a"), py::arg("b"), py::arg("y"))
      .def(
          "prox",
          [](const Operator<Loss>& self, const py::array& q, const py::array& y, double tau,
             py::array out) {
            positive(tau, "tau");
            dispatch(q, "q", [&](auto zero) {
              using T = decltype(zero);
              const auto [k, n] = outputs_and_samples(q);
              self.get<T>().prox(k, n, data<T>(q, {n, k}, "q"), data<T>(y, {n, k}, "y"),
                                 static_cast<T>(tau), output<T>(out, {n, k}, {&q, &y}));
            });
          },
          py::arg("q"), py::arg("y"), py::arg("tau"), py::arg("out"))
      .def(
          "subgradient_distance",
          [](const Operator<Loss>& self, const py::array& v, const py::array& y, const py::array& g,
             double scale) {
            nonnegative(scale, "scale");
            return dispatch(v, "v", [&](auto zero) {
              using T = decltype(zero);
              const auto [k, n] = outputs_and_samples(v);
              return self.get<T>().distance(k, n, data<T>(v, {n, k}, "v"), data<T>(y, {n, k}, "y"),
                                            data<T>(g, {n, k}, "g"), 1, scale);
            });
          },
          py::arg("v"), py::arg("y"), py::arg("g"), py::arg("scale"));

  py::class_<Operator<Regularizer>>(m, "Regularizer", py::module_local())
      .def(py::init(&make_regularizer), py::arg("name"), py::arg("parameters") = ParameterValues{})
      .def(
          "value",
          [](const Operator<Regularizer>& self, const py::array& x) {
            return dispatch(x, "x", [&](auto zero) {
              using T = decltype(zero);
              const auto [rows, columns] = rows_and_columns(x);
              return self.get<T>().value(rows, columns, data<T>(x, shape_of(x), "x"));
            });
          },
          py::arg("x"))
      .def(
          "difference",
          [](const Operator<Regularizer>& self, const py::array& a, const py::array& b) {
            return dispatch(a, "a", [&](auto zero) {
              using T = decltype(zero);
              const auto [rows, columns] = rows_and_columns(a);
              return self.get<T>().difference(rows, columns, data<T>(a, shape_of(a), "a"),
                                              data<T>(b, shape_of(a), "b"));
            });
          },
          py::arg("a"), py::arg("b"))
      .def(
          "prox",
          [](const Operator<Regularizer>& self, const py::array& x, double tau, py::array out) {
            positive(tau, "tau");
            dispatch(x, "x", [&](auto zero) {
              using T = decltype(zero);
              const auto [rows, columns] = rows_and_columns(x);
              self.get<T>().prox(rows, columns, data<T>(x, shape_of(x), "x"), static_cast<T>(tau),
                                 output<T>(out, shape_of(x), {&x}));
            });
          },
          py::arg("x"), py::arg("tau"), py::arg("out"))
      .def(
          "subgradient_distance",
          [](const Operator<Regularizer>& self, const py::array& x, const py::array& g) {
            return dispatch(x, "x", [&](auto zero) {
              using T = decltype(zero);
              const auto [rows, columns] = rows_and_columns(x);
              return self.get<T>().distance(rows, columns, data<T>(x, shape_of(x), "x"),
                                            data<T>(g, shape_of(x), "g"));
            });
          },
          py::arg("x"), py::arg("g"));
}

}  // namespace amcore::bindings
