// How this build was made and which CPU level this machine runs. Compiled for the baseline and
// importable anywhere: it decides which of the other modules may be loaded.
#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace {

const char* level() {
#if defined(__x86_64__)
  // The features by which a processor of each level is known; compilers older than the level
  // names know these too. The check includes the operating system's support of the registers.
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v4) return "v4";
  if (v3) return "v3";
#endif
  return "baseline";
}

py::dict build_info() {
  py::dict info;
  info["compiler"] = AMCORE_COMPILER;
  info["flags"] = AMCORE_COMPILER_FLAGS;
  info["eigen"] = AMCORE_EIGEN_VERSION;
  info["openmp"] = AMCORE_OPENMP_VERSION;
  return info;
}

}  // namespace

PYBIND11_MODULE(_cpu, m) {
  m.doc() = "The machine's CPU level and how the package was compiled.";
  m.def("level", &level, "Best CPU level this machine supports: 'baseline', 'v3' or 'v4'.");
  m.def("build_info", &build_info, "Compiler, flags, Eigen and OpenMP version, as strings.");
}
