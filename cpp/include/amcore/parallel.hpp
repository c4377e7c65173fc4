// Parallel loops whose results do not depend on the number of threads: work is cut into pieces by
// the problem's size alone, each piece is computed by one thread, and partial sums are added in an
// order of their own.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cstdlib>
#include <exception>
#include <latch>
#include <memory>
#include <vector>

#include "amcore/types.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace amcore {

inline int max_threads() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

inline int current_thread() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

// Ends the idle threads of GCC's runtime: a child forked while they wait would hang in its first
// parallel region. LLVM's starts anew in a child, and fails there once it has been paused.
inline void pause_threads() {
#if defined(_OPENMP) && !defined(__clang__)
  omp_pause_resource_all(omp_pause_hard);
#endif
}

// The threads asked for (0: as many as the runtime gives).
inline int team_of(int threads) { return threads > 0 ? threads : max_threads(); }
// Not more than there are pieces.
inline int team_of(int threads, Index pieces) {
  return static_cast<int>(std::min<Index>(team_of(threads), pieces));
}

// The threads, or one where so few flops are over before a team has started and met. A small system
// needs many meetings; `few` is lower where there are fewer.
inline int worth_a_team(double flops, int threads, double few = 3e7) {
  return flops < few ? 1 : threads;
}

// The same where so many entries are moved or added, and a team meets once.
inline int team_for_entries(Index entries, int threads) {
  return worth_a_team(static_cast<double>(entries), threads, 1e5);
}

namespace detail {

// Of OpenMP's threads, in bytes; 0: the system's default.
inline std::size_t stack_size() {
  const char* const text = std::getenv("OMP_STACKSIZE");
  char* unit = nullptr;
  const std::size_t size = text ? std::strtoull(text, &unit, 10) : 0;
  while (unit && std::isspace(static_cast<unsigned char>(*unit))) ++unit;
  switch (unit ? std::tolower(static_cast<unsigned char>(*unit)) : 'b') {
    case 'b':
      return size;
    case 'm':
      return size << 20;
    case 'g':
      return size << 30;
    default:
      return size << 10;
  }
}

// How many of so many threads, the caller among them, can be alive at a time, with a little memory
// left for the runtime.
inline int count_startable(int threads) {
  const std::unique_ptr<void, decltype(&std::free)> reserve(std::malloc(1 << 20), &std::free);
  if (!reserve) return 1;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (const std::size_t size = stack_size()) pthread_attr_setstacksize(&attributes, size);
  const auto wait = [](void* gate) -> void* {
    static_cast<std::latch*>(gate)->wait();
    return nullptr;
  };
  std::latch gate(1);
  std::vector<pthread_t> started;
  for (pthread_t next; static_cast<int>(started.size()) + 1 < threads; started.push_back(next))
    if (pthread_create(&next, &attributes, wait, &gate) != 0) break;
  gate.count_down();
  for (const pthread_t& thread : started) pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  return static_cast<int>(started.size()) + 1;
}

// Where a thread of a team cannot be started, as under a limit of the address space, OpenMP's
// runtime ends the process: teams that are larger than any before of this thread are tried first.
inline int startable(int threads) {
  thread_local int tried = 1, started = 1;
  if (threads > tried) {
    started = count_startable(threads);
    tried = threads;
  }
  return std::min(threads, started);
}

}  // namespace detail

// body(piece, thread) for every piece. What a body throws is thrown again once all threads are
// done; the pieces that had not begun are then left out.
template <class Body> void parallel_for(Index pieces, int threads, Body&& body) {
  threads = team_of(threads, pieces);
  if (threads > 1) threads = detail::startable(threads);
  if (threads <= 1) {
    for (Index piece = 0; piece < pieces; ++piece) body(piece, 0);
    return;
  }
#ifdef _OPENMP
  std::exception_ptr failure;
  std::atomic<bool> failed{false};
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (Index piece = 0; piece < pieces; ++piece) {
    if (failed.load(std::memory_order_relaxed)) continue;
    try {
      body(piece, current_thread());
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
#endif
}

inline Index blocks_of(Index n, Index block) { return (n + block - 1) / block; }

// body(first, last, thread) for the numbers below n in blocks; as parallel_for.
template <class Body> void parallel_blocks(Index n, Index block, int threads, Body&& body) {
  parallel_for(blocks_of(n, block), threads, [&](Index piece, int thread) {
    const Index first = piece * block;
    body(first, std::min(n, first + block), thread);
  });
}

// Σ body(first, last, thread) of the blocks, arrays of K numbers, added in their order; `sums` has
// room for one of each.
template <std::size_t K, class Body>
std::array<double, K> parallel_sums(Index n, Index block, int threads, double* sums, Body&& body) {
  parallel_blocks(n, block, threads, [&](Index first, Index last, int thread) {
    const std::array<double, K> of_block = body(first, last, thread);
    std::copy_n(of_block.data(), K, sums + first / block * static_cast<Index>(K));
  });
  std::array<double, K> total = {};
  for (Index piece = 0; piece < blocks_of(n, block); ++piece)
    for (double& sum : total) sum += *sums++;
  return total;
}

template <class Body>
double parallel_sum(Index n, Index block, int threads, double* sums, Body&& body) {
  const auto of_block = [&](Index first, Index last, int thread) {
    return std::array{body(first, last, thread)};
  };
  return parallel_sums<1>(n, block, threads, sums, of_block)[0];
}

}  // namespace amcore
