// One function per family of bindings.
#pragma once

#include <pybind11/pybind11.h>

#include "amcore/error.hpp"

namespace amcore::bindings {

namespace py = pybind11;

// The Python exception of that name.
py::object numerical_error(const NumericalError& error);

void bind_operators(py::module_& m);
void bind_blocks(py::module_& m);
void bind_schemes(py::module_& m);
void bind_runs(py::module_& m);

}  // namespace amcore::bindings
