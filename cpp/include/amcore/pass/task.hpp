// What a scheme is given: a problem, and how to go about it.
#pragma once

#include <algorithm>
#include <vector>

#include "amcore/collective.hpp"
#include "amcore/loss/loss.hpp"
#include "amcore/pass/layer.hpp"
#include "amcore/pass/samples.hpp"

namespace amcore {

// Network, data and loss; arrays belong to the caller.
template <class T> struct Problem {
  Index samples;
  const T* X;
  const T* Y;
  std::vector<Layer<T>> layers;
  const Loss<T>& loss;
  double loss_weight;                 // c
  std::vector<double*> numbers = {};  // of the state, in the scheme's order
  const T* sample_weight = nullptr;   // of every sample; null: 1

  std::size_t depth() const { return layers.size(); }
  bool is_top(std::size_t i) const { return i + 1 == layers.size(); }
  bool regularizes_activations() const {
    return std::any_of(layers.begin(), layers.end(),
                       [](const Layer<T>& l) { return l.activation_regularizer; });
  }
  bool has_kinks() const {
    return std::any_of(layers.begin(), layers.end(),
                       [](const Layer<T>& l) { return l.activation->has_kinks(); });
  }
  // V_{i−1}, which is X below the first layer; of all samples, and of a tile.
  const T* below(std::size_t i) const { return i == 0 ? X : layers[i - 1].V; }
  const T* below(std::size_t i, Tile tile) const { return below(i) + tile.begin * layers[i].in; }
  const T* targets(Tile tile) const { return Y + tile.begin * layers.back().out; }
};

struct Execution {
  int threads;  // 0: as many as the runtime gives
  Collective& collective;
  // Keep products of all samples between sweeps where that saves some, an array per layer?
  bool keep_products = true;
  Allocate allocate = {};
};

// The problem with the samples cut into tiles and the threads that are worth it.
template <class T> struct Task : Problem<T> {
  // `flops`: of a sweep, per sample and weight.
  Task(const Problem<T>& problem, const Execution& execution, double flops)
      : Problem<T>(problem),
        collective(execution.collective),
        allocate(execution.allocate),
        total_samples(total(problem.samples, collective)),
        plan(plan_for(problem)),
        threads(threads_for(problem, flops, execution.threads)) {
    for (std::size_t i = 0; i < problem.depth(); ++i) {
      const Layer<T>& layer = problem.layers[i];
      in = std::max(in, layer.in);
      out = std::max(out, layer.out);
      if (i == 0) continue;
      hidden_in = std::max(hidden_in, layer.in);
      hidden_out = std::max(hidden_out, layer.out);
    }
  }

  Collective& collective;
  const Allocate allocate;
  const double total_samples;  // over all processes
  const TilePlan plan;
  const int threads;
  Index in = 0, out = 0;                // of the widest layers
  Index hidden_in = 1, hidden_out = 1;  // of those above the first, if there are any

 private:
  static double total(Index samples, Collective& collective) {
    double total = static_cast<double>(samples);
    collective.sum(&total, 1);
    return total;
  }

  static TilePlan plan_for(const Problem<T>& problem) {
    Index width = 0, partial = 0, state = problem.layers[0].in;
    for (const Layer<T>& layer : problem.layers) {
      width = std::max({width, layer.in, layer.out});
      partial = std::max(partial, layer.in * (layer.in + 2 * layer.out));
      state += 2 * layer.out;
    }
    const auto bytes = static_cast<Index>(sizeof(T));
    return {problem.samples, width, bytes, partial * bytes, state * problem.samples * bytes};
  }

  static int threads_for(const Problem<T>& problem, double flops, int threads) {
    double weights = 0;
    for (const Layer<T>& layer : problem.layers)
      weights += static_cast<double>(layer.in) * static_cast<double>(layer.out);
    constexpr double few = 4e6;  // a team meets once a pass
    const double all = flops * static_cast<double>(problem.samples) * weights;
    return worth_a_team(all, team_of(threads), few);
  }
};

// The weights of a layer at a time, packed for products with the samples of tiles.
template <class T> class PackedLayer {
 public:
  explicit PackedLayer(const Task<T>& task)
      : task_(task), panels_(left_panels_size<T>(task.out, task.in)) {}

  const T* pack(std::size_t i) const {
    const Layer<T>& l = task_.layers[i];
    return pack(l.out, l.in, l.W);
  }
  const T* pack(Index out, Index in, const T* W) const {
    pack_left_in_parallel(out, in, W, in, Index(1), data(), task_.threads);
    return data();
  }
  T* data() const { return panels_.data(); }

 private:
  const Task<T>& task_;
  Buffer<T> panels_;
};

}  // namespace amcore
