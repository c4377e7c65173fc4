#include "amcore/error.hpp"
#include "amcore/parallel.hpp"
#include "bind.hpp"

namespace py = pybind11;

py::object amcore::bindings::numerical_error(const NumericalError& error) {
  using namespace py::literals;
  const py::object condition =
      std::isnan(error.condition) ? py::object(py::none()) : py::float_(error.condition);
  return py::module_::import("amcore.errors")
      .attr("NumericalError")(error.what(), "layer"_a = error.layer, "block"_a = error.block,
                              "condition"_a = condition);
}

PYBIND11_MODULE(AMCORE_MODULE_NAME, m) {
  m.attr("__isa__") = AMCORE_ISA_NAME;
  m.def("max_threads", &amcore::max_threads);
  m.def("pause_threads", &amcore::pause_threads);
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const amcore::NumericalError& error) {
      const py::object raised = amcore::bindings::numerical_error(error);
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(raised.ptr())), raised.ptr());
    }
  });
  amcore::bindings::bind_operators(m);
  amcore::bindings::bind_blocks(m);
  amcore::bindings::bind_schemes(m);
  amcore::bindings::bind_runs(m);
}
