// What the core's own tests check with: a check that fails says where, and with what; the others
// still run. No framework: a test is a program of named functions, its exit status the verdict.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <random>
#include <source_location>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "amcore/types.hpp"

namespace amcore::test {

inline int failures = 0;

// `told` is printed where the check fails.
template <class... Told> struct check {
  explicit check(bool holds, const Told&... told,
                 std::source_location where = std::source_location::current()) {
    if (holds) return;
    ++failures;
    std::ostringstream text;
    text.precision(17);
    ((text << ' ' << told), ...);
    std::fprintf(stderr, "%s:%u: failed%s\n", where.file_name(), where.line(), text.str().c_str());
  }
};
template <class... Told> check(bool, const Told&...) -> check<Told...>;

// Whether they differ by no more than the tolerance; NaN is near nothing.
inline bool near(double a, double b, double tolerance) { return std::abs(a - b) <= tolerance; }

// The same numbers in every run.
template <class T> std::vector<T> normal(Index size, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> distribution;
  std::vector<T> drawn(static_cast<std::size_t>(size));
  for (T& x : drawn) x = static_cast<T>(distribution(random));
  return drawn;
}

// An operator's parameters as it declares them.
template <class Op> std::vector<double> defaults() {
  std::vector<double> values;
  if constexpr (requires { Op::parameters.initial; })
    values.assign(Op::parameters.initial.begin(), Op::parameters.initial.end());
  else
    for (const auto& parameter : Op::parameters) values.push_back(parameter.initial);
  return values;
}

constexpr int skipped = 77;  // the exit status that CTest is told to take for it

inline bool machine_runs_this_level() {
#if defined(__x86_64__) && AMCORE_VECTOR_BYTES == 64
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#elif defined(__x86_64__) && AMCORE_VECTOR_BYTES == 32
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return true;
#endif
}

using Tests = std::vector<std::pair<const char*, std::function<void()>>>;

inline int run(const Tests& tests) {
  if (!machine_runs_this_level()) return skipped;
  for (const auto& [name, test] : tests) {
    const int before = failures;
    test();
    std::printf("%s %s\n", failures == before ? "passed" : "FAILED", name);
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace amcore::test
