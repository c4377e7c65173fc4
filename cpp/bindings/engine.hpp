// A scheme with what it refers to.
#pragma once

#include "assembly.hpp"
#include "gil.hpp"

namespace amcore::bindings {

// A collective of Python, whose sum and max work on a 1-D array in place and whose before returns a
// number; None: one process.
class PythonCollective final : public Collective {
 public:
  explicit PythonCollective(py::object of) : of_(std::move(of)) {}
  void sum(float* x, Index n) override { meet("sum", x, n); }
  void sum(double* x, Index n) override { meet("sum", x, n); }
  void max(double* x, Index n) override { meet("max", x, n); }
  double before(double x) override {
    if (of_.is_none()) return 0;
    return with_gil([&] { return of_.attr("before")(x).cast<double>(); });
  }

 private:
  template <class T> void meet(const char* how, T* x, Index n) {
    if (of_.is_none()) return;
    with_gil(
        [&] { of_.attr(how)(py::array_t<T>({n}, x, py::capsule(x, [](void*) {}))); });  // a view
  }
  py::object of_;
};

class Engine {
 public:
  // The scheme of that stem.
  Engine(const std::string& scheme, std::shared_ptr<const Assembly> assembly,
         const py::dict& options);
  Scheme& scheme() { return *scheme_; }

 private:
  const std::shared_ptr<const Assembly> assembly_;
  PythonCollective collective_;
  const std::unique_ptr<Scheme> scheme_;
};

}  // namespace amcore::bindings
