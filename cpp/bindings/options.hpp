// The options of a scheme, read by name from a dict.
#pragma once

#include <pybind11/pybind11.h>

#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "amcore/linalg/proximal_gradient.hpp"
#include "amcore/scheme/declaration.hpp"

namespace amcore::bindings {

namespace py = pybind11;

// Fills in every option it is called with; options.each(reader), then reader.finish().
class OptionReader {
 public:
  OptionReader(const py::dict& given, std::size_t layers) : given_(given), layers_(layers) {}

  void operator()(const char* name, double& option, Range range);
  void operator()(const char* name, int& option);  // at least 1
  void operator()(const char* name, bool& option);
  void operator()(const char* name, std::string& option, std::initializer_list<const char*> words);
  void operator()(const char* name, std::vector<double>& option, Range range);
  void operator()(InnerLoop& option);

  // Refuses names that no option has.
  void finish() const;

 private:
  py::object take(const char* name);
  py::list take_per_layer(const char* name);

  const py::dict& given_;
  std::size_t layers_;
  std::set<std::string> names_;
};

}  // namespace amcore::bindings
