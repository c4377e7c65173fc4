#include <pybind11/stl.h>

#include "amcore/block/standalone.hpp"
#include "arrays.hpp"
#include "bind.hpp"
#include "gil.hpp"
#include "integer.hpp"
#include "operators.hpp"

namespace amcore::bindings {
namespace {

// (n, d) of a two-dimensional array.
std::pair<Index, Index> sizes(const py::array& array, const char* name) {
  if (array.ndim() != 2)
    throw py::value_error(std::string(name) + ": expected two dimensions, got shape " +
                          to_string(shape_of(array)));
  return {array.shape(0), array.shape(1)};
}

}  // namespace

void bind_blocks(py::module_& m) {
  m.def(
      "ridge_update",
      [](const py::array& U, const py::array& V, py::array W, std::optional<py::array> b,
         double rho, double alpha, double lam, Threads threads) {
        positive(rho, "rho");
        nonnegative(alpha, "alpha");
        nonnegative(lam, "lam");
        const auto [n, out] = sizes(U, "U");
        const Index in = sizes(V, "V").second;
        dispatch(U, "U", [&, n = n, out = out](auto zero) {
          using T = decltype(zero);
          const T* const u = data<T>(U, {n, out}, "U");
          const T* const v = data<T>(V, {n, in}, "V");
          T* const w = mutable_data<T>(W, {out, in}, "W");
          T* const bias = b ? mutable_data<T>(*b, {out}, "b") : nullptr;
          Disjoint disjoint;
          disjoint.read(U, "U");
          disjoint.read(V, "V");
          disjoint.written(W, "W");
          if (b) disjoint.written(*b, "b");
          const ReleaseGil release;
          ridge_update(n, out, in, u, v, w, bias, rho, alpha, lam, threads);
        });
      },
      py::arg("U"), py::arg("V"), py::arg("W"), py::arg("b"), py::arg("rho"), py::arg("alpha"),
      py::arg("lam"), py::arg("num_threads"));

  m.def(
      "hidden_update",
      [](const py::array& S, const py::array& U, const py::array& W, std::optional<py::array> b,
         double gamma, double rho, py::array out_array, Threads threads) {
        positive(gamma, "gamma");
        positive(rho, "rho");
        const auto [n, in] = sizes(S, "S");
        const Index out = sizes(U, "U").second;
        dispatch(S, "S", [&, n = n, in = in](auto zero) {
          using T = decltype(zero);
          const T* const s = data<T>(S, {n, in}, "S");
          const T* const u = data<T>(U, {n, out}, "U");
          const T* const w = data<T>(W, {out, in}, "W");
          const T* const bias = b ? data<T>(*b, {out}, "b") : nullptr;
          T* const v = mutable_data<T>(out_array, {n, in}, "out");
          Disjoint disjoint;
          disjoint.written(out_array, "out");
          disjoint.read(S, "S");
          disjoint.read(U, "U");
          disjoint.read(W, "W");
          if (b) disjoint.read(*b, "b");
          const ReleaseGil release;
          hidden_update(n, out, in, s, u, w, bias, gamma, rho, v, threads);
        });
      },
      py::arg("S"), py::arg("U"), py::arg("W"), py::arg("b"), py::arg("gamma"), py::arg("rho"),
      py::arg("out"), py::arg("num_threads"));

  m.def(
      "preactivation_update",
      [](const Operator<Activation>& activation, const py::array& V, const py::array& P,
         py::array U, double gamma, double rho, double alpha, Threads threads) {
        positive(gamma, "gamma");
        positive(rho, "rho");
        nonnegative(alpha, "alpha");
        dispatch(V, "V", [&](auto zero) {
          using T = decltype(zero);
          const T* const v = data<T>(V, shape_of(V), "V");
          const T* const p = data<T>(P, shape_of(V), "P");
          T* const u = mutable_data<T>(U, shape_of(V), "U");
          Disjoint disjoint;
          disjoint.written(U, "U");
          disjoint.read(V, "V");
          disjoint.read(P, "P");
          const Index size = V.size();
          const ReleaseGil release;
          preactivation_update(size, activation.get<T>(), v, p, u, gamma, rho, alpha, threads);
        });
      },
      py::arg("activation"), py::arg("V"), py::arg("P"), py::arg("U"), py::arg("gamma"),
      py::arg("rho"), py::arg("alpha"), py::arg("num_threads"));

  m.def(
      "output_update",
      [](const Operator<Loss>& loss, double loss_weight, const py::array& Y, const py::array& S,
         py::array V, double gamma, double alpha, Threads threads) {
        positive(loss_weight, "loss_weight");
        positive(gamma, "gamma");
        nonnegative(alpha, "alpha");
        const auto [n, k] = sizes(V, "V");
        if (k == 0)
          throw py::value_error("V: expected shape (n, K) with K > 0, got shape " +
                                to_string(shape_of(V)));
        dispatch(V, "V", [&, n = n, k = k](auto zero) {
          using T = decltype(zero);
          T* const v = mutable_data<T>(V, {n, k}, "V");
          const T* const y = data<T>(Y, {n, k}, "Y");
          const T* const s = data<T>(S, {n, k}, "S");
          Disjoint disjoint;
          disjoint.written(V, "V");
          disjoint.read(Y, "Y");
          disjoint.read(S, "S");
          const ReleaseGil release;
          output_update(k, n, loss.get<T>(), loss_weight, y, s, v, gamma, alpha, threads);
        });
      },
      py::arg("loss"), py::arg("loss_weight"), py::arg("Y"), py::arg("S"), py::arg("V"),
      py::arg("gamma"), py::arg("alpha"), py::arg("num_threads"));
}

}  // namespace amcore::bindings
