// Python's lock. Up to 3.13 a thread that asks for it while the interpreter shuts down, as a daemon
// thread may at the end of a sweep, is ended by pthread_exit, whose unwinding std::terminate meets
// in the first destructor or parallel region. Such a thread waits for the end of the process
// instead, as it does from 3.14 on.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

namespace amcore::bindings {

namespace detail {

// body(), which may ask for the lock.
template <class Body> decltype(auto) unless_ended(Body&& body) {
#ifdef __GLIBCXX__
  try {
    return body();
  } catch (abi::__forced_unwind&) {
    for (;;) pause();  // of the process's end nothing may be unwound, nor the lock be held
  }
#else
  return body();
#endif
}

}  // namespace detail

// Without the lock while in scope.
class ReleaseGil {
 public:
  ReleaseGil() : state_(PyEval_SaveThread()) {}
  ~ReleaseGil() {
    detail::unless_ended([this] { PyEval_RestoreThread(state_); });
  }
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;

 private:
  PyThreadState* const state_;
};

// body() with the lock, within a scope without.
template <class Body> decltype(auto) with_gil(Body&& body) {
  return detail::unless_ended([&]() -> decltype(auto) {
    const pybind11::gil_scoped_acquire gil;
    return detail::unless_ended(body);
  });
}

}  // namespace amcore::bindings
