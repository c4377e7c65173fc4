// A scheme with what it refers to.
#pragma once

#include "assembly.hpp"
#include "gil.hpp"

namespace amcore::bindings {

// Sums over all processes through a Python callable that adds a 1-D array in place.
class CallableReducer final : public Reducer {
 public:
  explicit CallableReducer(py::object add) : add_(std::move(add)) {}
  void add(float* x, Index n) override { call(x, n); }
  void add(double* x, Index n) override { call(x, n); }

 private:
  template <class T> void call(T* x, Index n) {
    if (add_.is_none()) return;
    with_gil([&] { add_(py::array_t<T>({n}, x, py::capsule(x, [](void*) {}))); });  // a view
  }
  py::object add_;
};

class Engine {
 public:
  // The scheme of that stem.
  Engine(const std::string& scheme, std::shared_ptr<const Assembly> assembly,
         const py::dict& options);
  Scheme& scheme() { return *scheme_; }

 private:
  const std::shared_ptr<const Assembly> assembly_;
  CallableReducer reducer_;
  const std::unique_ptr<Scheme> scheme_;
};

}  // namespace amcore::bindings
