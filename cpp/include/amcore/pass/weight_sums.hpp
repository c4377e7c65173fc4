// The sums over samples that a weight block needs, and its least-squares step.
#pragma once

#include "amcore/block/weight.hpp"
#include "amcore/pass/task.hpp"

namespace amcore {

// Of one layer at a time: Σ r vᵀ and, but for the input, whose Gram matrix never changes and is
// summed once, Σ v vᵀ.
template <class T> class WeightSums : public SampleSums<T> {
 public:
  explicit WeightSums(const Task<T>& task)
      : SampleSums<T>(task.out, task.in, task.plan, true),
        task_(task),
        input_moments_(task.layers[0].in * (task.layers[0].in + 1)) {}

  void begin(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    SampleSums<T>::begin(l.out, l.in, i > 0 || keeps_gram(i), task_.samples, task_.below(i),
                         task_.collective);
  }
  // Do the sums of layer i include a Gram matrix that is kept for the sweeps to come? Its tiles
  // must then be added in an order that nothing in this sweep decides.
  bool keeps_gram(std::size_t i) const { return i == 0 && !input_moments_ready_; }
  void reduce(std::size_t i) {
    SampleSums<T>::reduce(task_.collective, task_.threads);
    if (!keeps_gram(i)) return;
    const Index in = task_.layers[0].in;
    const Moments<T> moments = SampleSums<T>::moments();
    std::copy_n(moments.gram, in * in, input_moments_.data());
    std::copy_n(moments.sum, in, input_moments_.data() + in * in);
    input_moments_ready_ = true;
  }
  Moments<T> moments(std::size_t i) const {
    if (i > 0) return SampleSums<T>::moments();
    const Index in = task_.layers[0].in;
    return {input_moments_.data(), input_moments_.data() + in * in, this->shift()};
  }

 private:
  const Task<T>& task_;
  Buffer<T> input_moments_;  // of X, once
  bool input_moments_ready_ = false;
};

// (W_i, b_i) ← argmin r + ρ/2‖R − ΔW V_{i−1} − Δb‖² + α/2‖Δ‖², R having gone into the sums.
template <class T> class WeightStep {
 public:
  explicit WeightStep(const Task<T>& task)
      : task_(task),
        block_(task.out, task.in,
               std::any_of(task.layers.begin(), task.layers.end(),
                           [](const Layer<T>& l) { return !l.regularizer->is_ridge(); }),
               task.threads) {}

  // `curvature` and anchor as for the block.
  BlockStep operator()(std::size_t i, const WeightSums<T>& sums, double rho, double alpha,
                       const InnerLoop& inner, double curvature = 1, const T* anchor_W = nullptr,
                       const T* anchor_b = nullptr) {
    const Layer<T>& l = task_.layers[i];
    return block_.update(l.W, l.b, sums.moments(i), sums, task_.total_samples, rho, alpha,
                         *l.regularizer, inner, static_cast<int>(i) + 1, task_.threads, curvature,
                         anchor_W, anchor_b);
  }

 private:
  const Task<T>& task_;
  WeightBlock<T> block_;
};

}  // namespace amcore
