// Sums: exact to float64, the same bits on any number of threads, every sample once.
#include <cstring>
#include <limits>
#include <numeric>

#include "amcore/check.hpp"
#include "amcore/collective.hpp"
#include "amcore/linalg/partial_sums.hpp"
#include "amcore/parallel.hpp"
#include "amcore/sums.hpp"
#include "amcore/tile.hpp"
#include "test.hpp"

namespace amcore {
namespace {

using test::check;
using test::near;
using test::normal;

void sums_of_any_length() {
  for (const Index n : {0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 1000, 1001}) {
    const std::vector<double> x = normal<double>(n, 1), y = normal<double>(n, 2);
    long double plain = 0, squares = 0, differences = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      plain += x[i];
      squares += static_cast<long double>(x[i]) * x[i];
      differences += static_cast<long double>(x[i] - y[i]) * (x[i] - y[i]);
    }
    const double few = 1e-15 * static_cast<double>(n + 1);
    const auto entry = [&](Index i) { return x[static_cast<std::size_t>(i)]; };
    check(near(sum(n, entry), static_cast<double>(plain), 4 * few), "sum", n);
    check(near(sum_of_squares(n, x.data()), static_cast<double>(squares), 4 * few), "squares", n);
    check(
        near(squared_difference(n, x.data(), y.data()), static_cast<double>(differences), 16 * few),
        "differences", n);
  }
}

template <class T> void finite_entries() {
  using Limits = std::numeric_limits<T>;
  for (const Index n : {1, 3, 16, 100})
    for (const T bad :
         {Limits::quiet_NaN(), Limits::signaling_NaN(), Limits::infinity(), -Limits::infinity()})
      for (Index at = 0; at < n; ++at) {
        std::vector<T> x(static_cast<std::size_t>(n), Limits::max());
        x[0] = -Limits::max();
        check(all_finite(n, x.data()), "the largest numbers are finite");
        x[static_cast<std::size_t>(at)] = bad;
        check(!all_finite(n, x.data()), "not finite at", at, "of", n);
      }
}

void parallel_sums_on_any_threads() {
  const Index n = 1003, block = 48;
  const std::vector<double> x = normal<double>(n, 3);
  std::vector<double> room(static_cast<std::size_t>(blocks_of(n, block)));
  const auto on = [&](int threads) {
    return parallel_sum(n, block, threads, room.data(), [&](Index first, Index last, int) {
      return std::accumulate(x.begin() + first, x.begin() + last, 0.0);
    });
  };
  const double one = on(1);
  check(near(one, std::accumulate(x.begin(), x.end(), 0.0), 1e-11), "sum");
  for (const int threads : {2, 3, 7, 100})
    for (int again = 0; again < 20; ++again) check(on(threads) == one, "threads", threads);
}

// Of any plan: tiles are in order, of no more than their size, and cover every sample once.
void every_sample_is_in_one_tile() {
  for (const Index n : {1, 2, 95, 384, 385, 5000, 70001})
    for (const Index width : {1, 50, 600, 4000})
      for (const Index scalar : {4, 8}) {
        const TilePlan plan(n, width, scalar, width * width * scalar, n * width * scalar);
        Index next = 0, number = -1;
        for (Index chunk = 0; chunk < plan.chunks(); ++chunk) {
          const Index begin = next;
          plan.for_each_tile(chunk, [&](const Tile& tile) {
            check(tile.begin == next && tile.size > 0 && tile.size <= plan.tile(), "tile", n,
                  width);
            check(tile.number > number && tile.number < plan.tiles(), "number", n, width);
            number = tile.number;
            next += tile.size;
          });
          check(next - begin == plan.size_of(chunk), "chunk", n, width);
        }
        check(next == n, "samples", n, width);
      }
}

// Σ over samples of (1, sample), in chunks of tiles, by any threads.
template <class T> void partial_sums_on_any_threads() {
  for (const Index n : {1, 700, 5001, 40000}) {
    const TilePlan plan(n, 3, sizeof(T), 2 * sizeof(T), 1 << 30);
    const std::vector<T> x = normal<T>(n, 4);
    PartialSums<T> parts(plan, 2);
    Collective alone;
    const auto on = [&](int threads) {
      parts.begin(2);
      parallel_for(plan.chunks(), threads, [&](Index chunk, int) {
        plan.for_each_tile(chunk, [&](const Tile& tile) {
          T* const part = parts.of(chunk);
          for (Index j = tile.begin; j < tile.begin + tile.size; ++j) {
            part[0] += 1;
            part[1] += x[static_cast<std::size_t>(j)];
          }
          parts.added(chunk, tile.size);
        });
      });
      parts.reduce(alone, threads);
      return std::pair(parts.total()[0], parts.total()[1]);
    };
    const auto one = on(1);
    check(one.first == static_cast<T>(n), "samples", n);
    check(
        near(static_cast<double>(one.second), std::accumulate(x.begin(), x.end(), 0.0),
             static_cast<double>(std::numeric_limits<T>::epsilon()) * 10 * static_cast<double>(n)),
        "sum", n);
    for (const int threads : {2, 3, 16})
      for (int again = 0; again < 5; ++again) check(on(threads) == one, "threads", threads, n);
  }
}

}  // namespace
}  // namespace amcore

int main() {
  using namespace amcore;
  return test::run({
      {"sums of any length", sums_of_any_length},
      {"finite entries, float32", finite_entries<float>},
      {"finite entries, float64", finite_entries<double>},
      {"parallel sums on any threads", parallel_sums_on_any_threads},
      {"every sample is in one tile", every_sample_is_in_one_tile},
      {"partial sums on any threads, float32", partial_sums_on_any_threads<float>},
      {"partial sums on any threads, float64", partial_sums_on_any_threads<double>},
  });
}
