#include "options.hpp"

#include "arrays.hpp"
#include "integer.hpp"

namespace amcore::bindings {
namespace {

double number(py::handle value, const std::string& name, Range range) {
  const double x = PyFloat_AsDouble(value.ptr());
  if (x == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    throw py::type_error(name + ": expected a number, got " + Py_TYPE(value.ptr())->tp_name);
  }
  if (range == Range::positive) positive(x, name);
  if (range == Range::nonnegative) nonnegative(x, name);
  finite(x, name);
  return x;
}

std::string numbered(const char* name, std::size_t i) {
  return std::string(name) + "[" + std::to_string(i) + "]";
}

}  // namespace

void OptionReader::operator()(const char* name, double& option, Range range) {
  option = number(take(name), name, range);
}

void OptionReader::operator()(const char* name, int& option) {
  option = integer<int>(take(name), name, 1);
}

void OptionReader::operator()(const char* name, bool& option) {
  const py::object value = take(name);
  if (!py::isinstance<py::bool_>(value))
    throw py::type_error(std::string(name) + ": expected True or False, got " +
                         Py_TYPE(value.ptr())->tp_name);
  option = value.cast<bool>();
}

void OptionReader::operator()(const char* name, std::string& option,
                              std::initializer_list<const char*> words) {
  const py::object value = take(name);
  if (!py::isinstance<py::str>(value))
    throw py::type_error(std::string(name) + ": expected a word, got " +
                         Py_TYPE(value.ptr())->tp_name);
  option = value.cast<std::string>();
  std::string known;
  for (const char* word : words) {
    if (option == word) return;
    known += (known.empty() ? "" : " or ") + std::string(word);
  }
  throw py::value_error(std::string(name) + ": expected " + known + ", got " + option);
}

void OptionReader::operator()(const char* name, std::vector<double>& option, Range range) {
  option.clear();
  for (const py::handle value : take_per_layer(name))
    option.push_back(number(value, numbered(name, option.size()), range));
}

void OptionReader::operator()(InnerLoop& option) {
  (*this)("inner_tol", option.tolerance, Range::nonnegative);
  (*this)("inner_steps", option.iterations);
}

void OptionReader::finish() const {
  for (const auto& [key, value] : given_) {
    const std::string name = py::str(key);
    if (names_.count(name)) continue;
    std::string known;
    for (const std::string& option : names_) known += (known.empty() ? "" : ", ") + option;
    throw py::type_error(name + ": expected the options " + known + ", got another");
  }
}

py::object OptionReader::take(const char* name) {
  names_.insert(name);
  if (!given_.contains(name))
    throw py::type_error(std::string(name) + ": expected a value, got none");
  return given_[name];
}

py::list OptionReader::take_per_layer(const char* name) {
  const py::object value = take(name);
  if (!py::isinstance<py::sequence>(value) || py::isinstance<py::str>(value))
    throw py::type_error(std::string(name) + ": expected a list, one entry for each layer, got " +
                         Py_TYPE(value.ptr())->tp_name);
  one_per_layer(py::len(value), layers_, name);
  return py::list(value);
}

}  // namespace amcore::bindings
