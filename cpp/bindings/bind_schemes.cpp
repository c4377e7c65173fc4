#include <pybind11/stl.h>

#include "amcore/scheme/registry.hpp"
#include "bind.hpp"
#include "build.hpp"
#include "engine.hpp"
#include "integer.hpp"

namespace amcore::bindings {

#define AMCORE_BUILT_ELSEWHERE(stem, Of) extern template BuildScheme build<Of>;
AMCORE_SCHEME_LIST(AMCORE_BUILT_ELSEWHERE)

namespace {

const std::map<std::string, BuildScheme*>& schemes() {
#define AMCORE_NAME_SCHEME(stem, Of) {#stem, &build<Of>},
  static const std::map<std::string, BuildScheme*> by_stem{AMCORE_SCHEME_LIST(AMCORE_NAME_SCHEME)};
  return by_stem;
}

std::unique_ptr<Scheme> build_named(const std::string& stem, const Assembly& assembly,
                                    const py::dict& options, Collective& collective) {
  const auto found = schemes().find(stem);
  if (found == schemes().end()) throw py::value_error("no scheme is named '" + stem + "'");
  return found->second(assembly, options, collective);
}

}  // namespace

Engine::Engine(const std::string& scheme, std::shared_ptr<const Assembly> assembly,
               const py::dict& options)
    : assembly_(std::move(assembly)),
      collective_(assembly_->collective),
      scheme_(build_named(scheme, *assembly_, options, collective_)) {}

void bind_schemes(py::module_& m) {
  m.def("schemes", [] {
    std::vector<std::string> stems;
    for (const auto& [stem, build] : schemes()) stems.push_back(stem);
    return stems;
  });

  py::class_<Assembly, std::shared_ptr<Assembly>>(m, "Assembly", py::module_local())
      .def(py::init([](py::array X, py::array Y, std::vector<Arrays> layers, Arrays numbers,
                       std::vector<Operator<Activation>> activations, std::vector<bool> skip,
                       Operator<Loss> loss, double loss_weight,
                       std::vector<Operator<Regularizer>> weight_regularizers,
                       std::vector<Operator<Regularizer>> activation_regularizers, Threads threads,
                       py::object collective, bool keep_products, py::object sample_weight) {
             Assembly given{X,
                            Y,
                            std::move(layers),
                            std::move(numbers),
                            std::move(activations),
                            std::move(skip),
                            std::move(loss),
                            loss_weight,
                            std::move(weight_regularizers),
                            std::move(activation_regularizers),
                            threads,
                            std::move(collective),
                            keep_products,
                            std::move(sample_weight)};
             given.check();
             return given;
           }),
           py::arg("X"), py::arg("Y"), py::arg("layers"), py::arg("numbers"),
           py::arg("activations"), py::arg("skip"), py::arg("loss"), py::arg("loss_weight"),
           py::arg("weight_regularizers"), py::arg("activation_regularizers"),
           py::arg("num_threads"), py::arg("collective"), py::arg("keep_products") = true,
           py::arg("sample_weight") = py::none());

  py::class_<Engine>(m, "Engine", py::module_local())
      .def(py::init<const std::string&, std::shared_ptr<Assembly>, const py::dict&>(),
           py::arg("scheme"), py::arg("assembly"), py::arg("options"))
      .def(
          "forward", [](Engine& e) { e.scheme().forward(); }, py::call_guard<ReleaseGil>())
      .def(
          "measure", [](Engine& e) { return e.scheme().measure(); }, py::call_guard<ReleaseGil>())
      .def(
          "sweep", [](Engine& e, bool measure) { return e.scheme().sweep(measure); },
          py::arg("measure"), py::call_guard<ReleaseGil>());
}

}  // namespace amcore::bindings
