// What this machine can do at most, measured:
//   peak fma float|double THREADS SECONDS    GFLOP/s of fused multiply-adds that stay in registers
//   peak stream THREADS SECONDS              GB/s of a ← b + s·c over arrays far beyond the caches
// The work is repeated in short pieces until the time is over; the best piece counts.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, accumulators = 24;
#elif defined(__AVX__)
constexpr int vector_bytes = 32, accumulators = 12;  // of 16 registers
#elif defined(__aarch64__)
constexpr int vector_bytes = 16, accumulators = 24;
#else
constexpr int vector_bytes = 16, accumulators = 12;
#endif

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Runs body(thread) on all threads at once; returns the time from the common start to the last end.
template <class Body> double together(int threads, Body&& body) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> team;
  for (int thread = 1; thread < threads; ++thread)
    team.emplace_back([&, thread] {
      ++ready;
      while (!go) {
      }
      body(thread);
    });
  while (ready < threads - 1) {
  }
  const auto start = Clock::now();
  go = true;
  body(0);
  for (auto& other : team) other.join();
  return seconds_since(start);
}

volatile double sink;

// Chains x ← x·a + b, enough of them to hide the latency; the operands are read from volatiles, so
// that nothing can be folded.
template <class T> void multiply_add(long steps) {
  typedef T Vector __attribute__((vector_size(vector_bytes)));
  volatile T start = T(1), factor = T(0.999), addend = T(0.001);
  Vector a, b, x[accumulators];
  a = Vector{} + factor;
  b = Vector{} + addend;
#pragma GCC unroll 24
  for (int k = 0; k < accumulators; ++k) x[k] = Vector{} + start;
  for (long step = 0; step < steps; ++step) {
#pragma GCC unroll 24
    for (int k = 0; k < accumulators; ++k) x[k] = x[k] * a + b;
  }
  Vector total{};
#pragma GCC unroll 24
  for (int k = 0; k < accumulators; ++k) total += x[k];
  sink = total[0];
}

template <class T> double fma_peak(int threads, double seconds) {
  constexpr long steps = 1 << 18;
  const double flops = 2.0 * steps * accumulators * (vector_bytes / sizeof(T)) * threads;
  double best = 0;
  for (const auto start = Clock::now(); seconds_since(start) < seconds;) {
    const double time = together(threads, [](int) { multiply_add<T>(steps); });
    best = std::max(best, flops / time / 1e9);
  }
  return best;
}

double stream_peak(int threads, double seconds) {
  constexpr std::size_t size = std::size_t{1} << 25;  // 256 MB an array
  const std::unique_ptr<double[]> a(new double[size]), b(new double[size]), c(new double[size]);
  const auto part = [&](int thread, auto&& body) {
    const std::size_t begin = size * thread / threads, end = size * (thread + 1) / threads;
    body(a.get() + begin, b.get() + begin, c.get() + begin, end - begin);
  };
  together(threads, [&](int thread) {  // first touch
    part(thread, [](double* x, double* y, double* z, std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) x[i] = y[i] = z[i] = static_cast<double>(i);
    });
  });
  double best = 0;
  volatile double scale = 3;
  for (const auto start = Clock::now(); seconds_since(start) < seconds;) {
    const double time = together(threads, [&](int thread) {
      part(thread, [&](double* __restrict x, const double* y, const double* z, std::size_t n) {
        const double s = scale;
        for (std::size_t i = 0; i < n; ++i) x[i] = y[i] + s * z[i];
      });
    });
    best = std::max(best, 3.0 * sizeof(double) * size / time / 1e9);
  }
  sink = a[size / 2];
  return best;
}

int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  double result = 0;
  if (what == "fma" && count == 5) {
    const int threads = std::atoi(arguments[3]);
    const double seconds = std::atof(arguments[4]);
    result = std::string(arguments[2]) == "float" ? fma_peak<float>(threads, seconds)
                                                  : fma_peak<double>(threads, seconds);
  } else if (what == "stream" && count == 4) {
    result = stream_peak(std::atoi(arguments[2]), std::atof(arguments[3]));
  } else {
    std::fprintf(stderr, "usage: peak fma float|double THREADS SECONDS | stream THREADS SECONDS\n");
    return 2;
  }
  std::printf("%.6g\n", result);
}
