"""A sweep allocates nothing: a C++ program on the installed headers counts.

The widths are at most 64, so that what Eigen needs inside a factorisation stays on the stack.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import amcore

SOURCE = r"""
// Counts malloc and its relatives, which operator new goes through too, while `counting` is set.
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "amcore/activation/registry.hpp"
#include "amcore/loss/registry.hpp"
#include "amcore/regularizer/registry.hpp"
#include "amcore/scheme/registry.hpp"

static std::atomic<bool> counting{false};
static std::atomic<long> allocations{0};
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
static void count() {
  if (counting.load(std::memory_order_relaxed)) ++allocations;
}
void* malloc(std::size_t size) { count(); return __libc_malloc(size); }
void* calloc(std::size_t n, std::size_t size) { count(); return __libc_calloc(n, size); }
void* realloc(void* p, std::size_t size) { count(); return __libc_realloc(p, size); }
void* memalign(std::size_t a, std::size_t size) { count(); return __libc_memalign(a, size); }
void* aligned_alloc(std::size_t a, std::size_t size) { count(); return __libc_memalign(a, size); }
int posix_memalign(void** p, std::size_t a, std::size_t size) {
  count();
  *p = __libc_memalign(a, size);
  return *p ? 0 : 12;
}
}

using namespace amcore;

template <class T> struct Example {
  std::vector<Index> widths;
  Index n;
  std::mt19937 random{1};
  std::vector<std::vector<T>> arrays;
  std::vector<std::unique_ptr<Activation<T>>> activations;
  std::unique_ptr<Loss<T>> loss;
  RegularizerOf<regularizer::RidgeRegularizer, T> ridge{ParameterValues{0.1}};
  RegularizerOf<regularizer::L1Regularizer, T> l1{ParameterValues{0.1}};
  ActivationOf<activation::TanhActivation, T> tanh{ParameterValues{}};
  Collective collective;

  T* draw(Index size) {
    std::normal_distribution<double> normal;
    auto& array = arrays.emplace_back(static_cast<std::size_t>(size));
    for (T& x : array) x = static_cast<T>(normal(random));
    return array.data();
  }
  T* one_hot() {
    const Index K = widths.back();
    auto& array = arrays.emplace_back(static_cast<std::size_t>(K * n));
    for (Index j = 0; j < n; ++j) array[static_cast<std::size_t>(j * K + j % K)] = 1;
    return array.data();
  }

  long run(bool cross_entropy, int threads) {
    arrays.reserve(100);
    const std::size_t N = widths.size() - 1;
    std::vector<Layer<T>> layers;
    for (std::size_t i = 0; i < N; ++i) {
      if (i + 1 == N)
        activations.emplace_back(new ActivationOf<activation::IdentityActivation, T>({}));
      else if (i % 2)
        activations.emplace_back(new ActivationOf<activation::TanhActivation, T>({}));
      else
        activations.emplace_back(new ActivationOf<activation::ReluActivation, T>({}));
    }
    if (cross_entropy)
      loss.reset(new LossOf<loss::CrossEntropyLoss, T>({}));
    else
      loss.reset(new LossOf<loss::SquaredLoss, T>({}));
    for (std::size_t i = 0; i < N; ++i) {
      const Index in = widths[i], out = widths[i + 1];
      Layer<T> layer{in, out, in == out, activations[i].get(), &ridge};
      layer.W = draw(in * out);
      layer.b = draw(out);
      for (T** array : {&layer.U, &layer.V, &layer.Lambda, &layer.V_old}) *array = draw(out * n);
      if (cross_entropy && i != 1) layer.activation_regularizer = &l1;
      layers.push_back(layer);
    }
    const std::vector<double> weights(N, 0.5);
    Problem<T> problem{n, draw(widths[0] * n), one_hot(), layers, *loss, 1.0};
    const Execution execution{threads, collective};
    ThreeSplitBCD<T> three_split(problem, {weights, weights, 0.3}, execution);
    for (Layer<T>& layer : problem.layers) {
      layer.skip = false;
    }
    TwoSplitBCD<T> two_split(problem, {weights, 0.3, 2, {}}, execution);
    for (Layer<T>& layer : problem.layers) {
      if (!layer.activation->is_identity()) layer.activation = &tanh;
      layer.activation_regularizer = nullptr;
    }
    ADMM<T> admm(problem, {weights, weights, true, true}, execution);
    for (std::size_t i = 0; i < N; ++i) {
      Layer<T>& layer = problem.layers[i];
      layer.W_old = draw(layer.in * layer.out);
      layer.b_old = draw(layer.out);
      if (i + 1 == N) layer.V = layer.V_old = nullptr;
    }
    double s = 0, epsilon = 0;
    problem.numbers = {&s, &epsilon};
    MDLAM<T> mdlam(problem, {weights, 0.5, 0.8, 0.1, 1e-8}, execution);
    for (std::size_t i = 0; i < N; ++i) {
      Layer<T>& layer = problem.layers[i];
      layer.skip = layer.in == layer.out;
      layer.v = draw(1);
      if (i > 0) layer.G = draw((layer.in + 1) * (layer.in + 1));
      if (i > 0) continue;
      layer.components = draw(2 * layer.in), layer.center = draw(layer.in);
      layer.rank = 2;
    }
    double epochs = 0, planned = 20, shuffle = 0, halvings = 0;
    problem.numbers = {&epochs, &planned, &shuffle, &halvings};
    const OnlineAMOptions fast{30, 2, 2, 0.1, 1, 0, 0, 0.5, 0.1, "linear", 0, 1e-3};
    const OnlineAMOptions exact{30, 2, 1, 0.1, 1, 1, 0.1, 0.5, 0.1, "cosine", 0.5, 1e-3};
    OnlineAM<T> online(problem, fast, execution), blocks(problem, exact, execution);
    return count(three_split) + count(two_split) + count(admm) + count(mdlam) + count(online) +
           count(blocks);
  }

  static long count(Scheme& scheme) {
    scheme.forward();
    scheme.sweep(true);  // the runtime starts its threads at the first parallel loop
    counting = true;
    for (int k = 0; k < 3; ++k) {
      scheme.sweep(true);
      scheme.sweep(false);
    }
    scheme.measure();
    scheme.forward();
    counting = false;
    return allocations.exchange(0);
  }
};

int main() {
  constexpr Index n = 1100;  // in four chunks
  counting = true;
  void* volatile first = std::malloc(10);  // volatile: the compiler may not leave the pair out
  int* volatile second = new int(3);
  counting = false;
  std::free(first);
  delete second;
  if (allocations.exchange(0) < 2) return 3;  // the counter does not count
  for (const bool cross_entropy : {false, true})
    for (const int threads : {1, 2}) {
      const long deep32 = Example<float>{{20, 64, 64, 48, 10}, n}.run(cross_entropy, threads);
      const long deep64 = Example<double>{{20, 64, 64, 48, 10}, n}.run(cross_entropy, threads);
      const long narrow = Example<double>{{3, 2}, 7}.run(cross_entropy, threads);
      std::printf("%ld %ld %ld\n", deep32, deep64, narrow);
    }
}
"""


def compiler():
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return name
    return None


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
@pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="counts through glibc"
)
def test_a_sweep_allocates_nothing(tmp_path):
    include = Path(amcore.get_include())
    if not (include / "amcore").is_dir():
        pytest.skip(f"no headers in {include}: not an installed amcore")
    source, program = tmp_path / "count.cpp", tmp_path / "count"
    source.write_text(SOURCE)
    command = [compiler(), "-std=c++20", "-O1", "-fopenmp", "-DEIGEN_MPL2_ONLY"]
    command += ["-DEIGEN_DONT_PARALLELIZE", f"-I{include}", str(source), "-o", str(program)]
    build = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert build.returncode == 0, build.stderr[-3000:]
    run = subprocess.run([program], capture_output=True, text=True, timeout=1800)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["0"] * 12, f"allocations during sweeps:\n{run.stdout}"
