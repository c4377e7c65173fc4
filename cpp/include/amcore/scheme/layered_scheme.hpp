// What the schemes share: the layers of a problem, passes over all samples in tiles, the weight
// block on the sums of a pass, the forward pass.
//
// A pass gives every chunk of samples to one thread, tile by tile, with scratch of that thread; the
// scheme's sums over samples (a Tally of float64 numbers) are kept by chunk and added in a fixed
// order, so that no bit depends on the number of threads.
#pragma once

#include <array>
#include <atomic>
#include <chrono>

#include "amcore/block/hidden.hpp"
#include "amcore/block/output.hpp"
#include "amcore/block/weight.hpp"
#include "amcore/scheme/forward.hpp"

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
};

struct Execution {
  int threads;  // 0: as many as the runtime gives
  Collective& collective;
  // Keep products of all samples between sweeps where that saves some, an array per layer?
  bool keep_products = true;
};

// Wall time by phase.
template <std::size_t Phases> class PhaseClock {
 public:
  void reset() { seconds_ = {}; }
  template <class Body> void time(std::size_t phase, Body&& body) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    seconds_[phase] += elapsed.count();
  }
  void report(Named& seconds) const {
    for (std::size_t k = 0; k < Phases; ++k) seconds[k].second = seconds_[k];
  }

 private:
  std::array<double, Phases> seconds_{};
};

template <class T, std::size_t Sums> class LayeredScheme : public Scheme {
 public:
  void forward() override {
    for (std::size_t i = 0; i < depth(); ++i) {
      pack_weights(i);
      pass(i, [&](Index, Tile tile, Tally&, const Workspace& workspace) {
        forward_tile(layers_[i], tile, previous(i), packed_.data(), workspace.panels);
        project(layers_[i], tile);
      });
      const Index size = layers_[i].out * plan_.samples();
      if ((layers_[i].U && !all_finite(size, layers_[i].U)) ||
          (layers_[i].V && !all_finite(size, layers_[i].V)))
        throw NumericalError("the forward pass is not finite", static_cast<int>(i) + 1, "V");
    }
  }

 protected:
  using Tally = std::array<double, Sums>;

  // Of one thread: panels for products, arrays as large as the widest layer's tile, and what
  // regularised activations need.
  struct Workspace {
    Panels<T> panels;
    std::vector<Buffer<T>> arrays;
    typename HiddenBlock<T>::Workspace steps;
    T* operator()(std::size_t k) const { return arrays[k].data(); }
  };

  // `arrays`: of a workspace; `flops`: of a sweep, per sample and weight.
  LayeredScheme(const Problem<T>& problem, const Execution& execution, std::size_t arrays,
                double flops)
      : layers_(problem.layers),
        X_(problem.X),
        Y_(problem.Y),
        loss_(problem.loss),
        loss_weight_(problem.loss_weight),
        collective_(execution.collective),
        plan_(make_plan(problem.samples, layers_)),
        threads_(threads_for(problem.samples, flops, execution.threads)) {
    Index width = 0, out = 0, in = 0;
    bool proximal = false;
    for (const Layer<T>& layer : layers_) {
      width = std::max({width, layer.in, layer.out});
      out = std::max(out, layer.out);
      in = std::max(in, layer.in);
      proximal = proximal || !layer.regularizer->is_ridge();
    }
    sums_ = SampleSums<T>(out, in, plan_, true);
    gradient_sums_ = SampleSums<T>(out, in, plan_, false);
    input_moments_ = Buffer<T>(layers_[0].in * (layers_[0].in + 1));
    weight_ = WeightBlock<T>(out, in, proximal, threads_);
    packed_ = Buffer<T>(left_panels_size<T>(out, in));
    gradient_ = Buffer<T>(out * in);
    tallies_ = Buffer<PaddedTally>(plan_.chunks());
    maxima_ = Buffer<double>(plan_.chunks());
    for (int thread = 0; thread < team_of(threads_, plan_.chunks()); ++thread) {
      Workspace& workspace = workspaces_.emplace_back();
      workspace.panels = Panels<T>(width, plan_.tile());
      if (regularizes_activations())
        workspace.steps = typename HiddenBlock<T>::Workspace(width, plan_.tile());
      for (std::size_t k = 0; k < arrays; ++k) workspace.arrays.emplace_back(width * plan_.tile());
    }
    double total = static_cast<double>(problem.samples);
    collective_.sum(&total, 1);
    total_samples_ = total;
  }

  std::size_t depth() const { return layers_.size(); }
  const T* previous(std::size_t i) const { return i == 0 ? X_ : layers_[i - 1].V; }
  void pack_weights(std::size_t i) {
    const Layer<T>& l = layers_[i];
    pack_left_in_parallel(l.out, l.in, l.W, l.in, Index(1), packed_.data(), threads_);
  }

  bool regularizes_activations() const {
    return std::any_of(layers_.begin(), layers_.end(),
                       [](const Layer<T>& l) { return l.activation_regularizer; });
  }
  // Does V_i take proximal gradient steps, if it is hidden?
  static bool is_inexact(const Layer<T>& layer) {
    return layer.activation_regularizer && !layer.activation_regularizer->is_ridge();
  }
  // The λ of s_i = λ/2 ‖·‖².
  static double ridge_v(const Layer<T>& layer) {
    return layer.activation_regularizer && !is_inexact(layer)
               ? layer.activation_regularizer->ridge()
               : 0;
  }

  // Is W ΔV as a difference of two products of T as good as W ΔV, but for some thousandths? And
  // ΔW V? From the squared step of what moves, and its new value.
  static bool is_long(double squared_step, Index n, const T* x) {
    constexpr double least = 1e3 * std::numeric_limits<T>::epsilon();
    return squared_step > square(least) * sum_of_squares(n, x);
  }

  // `block` for updates of V_i, i < N: s_i(V_i) + pull/2‖V_i − S‖² + ρ/2‖U − b1ᵀ − W_{i+1} V_i‖².
  void prepare_hidden(HiddenBlock<T>& block, std::size_t i, double pull, double rho) const {
    const Layer<T>&here = layers_[i], &above = layers_[i + 1];
    if (is_inexact(here))
      block.prepare_regularized(above.out, above.in, above.W, pull, rho, threads_);
    else
      block.prepare(above.out, above.in, above.W, pull + ridge_v(here), rho,
                    static_cast<int>(i) + 1, threads_);
  }

  // v ← argmin c ℓ(v, Y) + s_N(v) + γ/2‖v − s‖² + α/2‖v − V_N‖² for a tile; q, other: scratch.
  // Returns the block whose values are not finite, else null.
  const char* update_output(Tile tile, const T* s, double gamma, double alpha,
                            const InnerLoop& inner, const Workspace& array, T* q, T* other,
                            T* v) const {
    const Layer<T>& l = layers_.back();
    const Index size = tile.size * l.out;
    const T *const y = Y_ + tile.begin * l.out, *const V = l.V + tile.begin * l.out;
    if (l.activation_regularizer) {
      if (!all_finite(size, s)) return "V";  // steps that go nowhere would hide it
      amcore::output_update(l.out, tile.size, loss_, loss_weight_, y, s, V, gamma, alpha,
                            *l.activation_regularizer, inner, array.steps.loop, q, other, v);
    } else {
      amcore::output_update(l.out, tile.size, loss_, loss_weight_, y, s, V, gamma, alpha, q, v);
    }
    return all_finite(size, v) ? nullptr : "V";
  }

  // dist²(0, ∂(c ℓ + s_N)(v) + γ fit) for a tile of V_N; left, right: scratch.
  double output_distance(Tile tile, const T* v, const T* fit, double gamma, T* left,
                         T* right) const {
    const Layer<T>& l = layers_.back();
    const T* const y = Y_ + tile.begin * l.out;
    if (!l.activation_regularizer)
      return loss_.squared_distance(l.out, tile.size, v, y, fit, gamma, loss_weight_);
    return amcore::output_distance(l.out, tile.size, loss_, loss_weight_, y, v,
                                   *l.activation_regularizer, fit, gamma, left, right);
  }

  // body(chunk, tile, tally, workspace) over all samples; the sums of its tallies over all
  // processes. A body that returns the block whose new values are not finite (else null), before it
  // writes them, ends the pass with an error.
  template <class Body> Tally pass(std::size_t i, Body&& body) {
    std::atomic<const char*> failed{nullptr};
    parallel_for(plan_.chunks(), threads_, [&](Index chunk, int thread) {
      Tally& tally = tallies_.data()[chunk].tally;
      tally = {};
      const Workspace& workspace = workspaces_[static_cast<std::size_t>(thread)];
      plan_.for_each_tile(chunk, [&](Tile tile) {
        if constexpr (std::is_void_v<decltype(body(chunk, tile, tally, workspace))>) {
          body(chunk, tile, tally, workspace);
        } else {
          if (failed.load(std::memory_order_relaxed)) return;
          const char* const block = body(chunk, tile, tally, workspace);
          if (block) failed.store(block, std::memory_order_relaxed);
        }
      });
    });
    if (const char* const block = failed.load())
      throw NumericalError("the update is not finite", static_cast<int>(i) + 1, block);
    Tally total{};
    for (Index chunk = 0; chunk < plan_.chunks(); ++chunk)
      for (std::size_t k = 0; k < Sums; ++k) total[k] += tallies_.data()[chunk].tally[k];
    collective_.sum(total.data(), static_cast<Index>(Sums));
    return total;
  }

  // The greatest of body(tile, workspace) ≥ 0 over all tiles of all processes.
  template <class Body> double greatest(std::size_t i, Body&& body) {
    std::fill_n(maxima_.data(), plan_.chunks(), 0.0);
    pass(i, [&](Index chunk, Tile tile, Tally&, const Workspace& workspace) {
      double& most = maxima_.data()[chunk];
      most = std::max(most, body(tile, workspace));
    });
    double most = *std::max_element(maxima_.data(), maxima_.data() + plan_.chunks());
    collective_.max(&most, 1);
    return most;
  }

  // Start the sums over samples for the weights of layer i. The Gram matrix of the input never
  // changes: it is summed once.
  void begin_weight_sums(std::size_t i) {
    sums_.begin(layers_[i].out, layers_[i].in, i > 0 || keeps_gram(i), plan_.samples(), previous(i),
                collective_);
  }
  // Do the sums of layer i include a Gram matrix that is kept for the sweeps to come? Its tiles
  // must then be added in an order that nothing in this sweep decides.
  bool keeps_gram(std::size_t i) const { return i == 0 && !input_moments_ready_; }
  void begin_gradient_sums(std::size_t i) {
    gradient_sums_.begin(layers_[i].out, layers_[i].in, false, plan_.samples(), previous(i),
                         collective_);
  }
  void reduce_weight_sums(std::size_t i) {
    sums_.reduce(collective_, threads_);
    if (!keeps_gram(i)) return;
    const Index in = layers_[0].in;
    const Moments<T> moments = sums_.moments();
    std::copy_n(moments.gram, in * in, input_moments_.data());
    std::copy_n(moments.sum, in, input_moments_.data() + in * in);
    input_moments_ready_ = true;
  }
  Moments<T> moments(std::size_t i) const {
    if (i > 0) return sums_.moments();
    const Index in = layers_[0].in;
    return {input_moments_.data(), input_moments_.data() + in * in, sums_.shift()};
  }

  // (W_i, b_i) ← argmin r + ρ/2‖R − ΔW V_{i−1} − Δb‖² + α/2‖Δ‖², R having gone into the sums.
  // `curvature` and anchor as for the block.
  BlockStep update_weights(std::size_t i, double rho, double alpha, const InnerLoop& inner,
                           double curvature = 1, const T* anchor_W = nullptr,
                           const T* anchor_b = nullptr) {
    const Layer<T>& l = layers_[i];
    return weight_.update(l.W, l.b, moments(i), sums_, total_samples_, rho, alpha, *l.regularizer,
                          inner, static_cast<int>(i) + 1, threads_, curvature, anchor_W, anchor_b);
  }

  // dist²(0, ∂_{(W_i, b_i)} f) where f = r − ρ⟨W V + b, R⟩ + …, R having gone into the gradient
  // sums.
  double weight_distance(std::size_t i, double rho) {
    const Layer<T>& l = layers_[i];
    gradient_sums_.reduce(collective_, threads_);
    const int team = team_for_entries(l.out * l.in, threads_);
    parallel_blocks(l.out, SpdSolver::block, team, [&](Index first, Index last, int) {
      for (Index j = 0; j < l.in; ++j)
        for (Index r = first; r < last; ++r)
          gradient_.data()[r * l.in + j] = static_cast<T>(-rho * gradient_sums_.cross(r, j));
    });
    double squared = l.regularizer->squared_distance(l.out, l.in, l.W, gradient_.data());
    if (l.b) squared += square(rho) * sum_of_squares(l.out, gradient_sums_.sum_r());
    return squared;
  }

  const std::vector<Layer<T>> layers_;
  const T* const X_;
  const T* const Y_;
  const Loss<T>& loss_;
  const double loss_weight_;
  Collective& collective_;
  const TilePlan plan_;
  const int threads_;
  double total_samples_ = 0;  // over all processes

  SampleSums<T> sums_, gradient_sums_;  // of the weight update; of the gradient of the weights
  Buffer<T> packed_;                    // weights of one layer, for products with them

 private:
  struct alignas(64) PaddedTally {
    Tally tally;
  };

  // V_i where s_i(V_i) is infinite, into the set of s_i.
  static void project(const Layer<T>& layer, Tile tile) {
    const Regularizer<T>* const s = layer.activation_regularizer;
    if (!s || !layer.V) return;
    T* const v = layer.V + tile.begin * layer.out;
    if (std::isinf(s->value(tile.size, layer.out, v))) s->prox(tile.size, layer.out, v, T(1), v);
  }

  static TilePlan make_plan(Index samples, const std::vector<Layer<T>>& layers) {
    Index width = 0, partial = 0, state = layers[0].in;
    for (const Layer<T>& layer : layers) {
      width = std::max({width, layer.in, layer.out});
      partial = std::max(partial, layer.in * (layer.in + 2 * layer.out));
      state += 2 * layer.out;
    }
    const auto bytes = static_cast<Index>(sizeof(T));
    return {samples, width, bytes, partial * bytes, state * samples * bytes};
  }

  int threads_for(Index samples, double flops, int threads) const {
    double weights = 0;
    for (const Layer<T>& layer : layers_)
      weights += static_cast<double>(layer.in) * static_cast<double>(layer.out);
    constexpr double few = 4e6;  // a team meets once a pass
    const double total = flops * static_cast<double>(samples) * weights;
    return worth_a_team(total, team_of(threads), few);
  }

  WeightBlock<T> weight_;
  Buffer<T> input_moments_;  // of X, once
  bool input_moments_ready_ = false;
  Buffer<T> gradient_;
  Buffer<PaddedTally> tallies_;  // by chunk, as the maxima
  Buffer<double> maxima_;
  std::vector<Workspace> workspaces_;  // one per thread
};

}  // namespace amcore
