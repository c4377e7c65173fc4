// dist(0, ∂f) of the weights.
#pragma once

#include "amcore/block/weight.hpp"
#include "amcore/pass/task.hpp"

namespace amcore {

// Of (W_i, b_i), one layer at a time, where f = r_i(W_i) − ρ⟨W_i V_{i−1} + b_i1ᵀ, R⟩ + …: the
// gradient −ρ R V_{i−1}ᵀ is summed over the samples.
template <class T> class WeightDistance {
 public:
  explicit WeightDistance(const Task<T>& task)
      : task_(task), sums_(task.out, task.in, task.plan, false), gradient_(task.out * task.in) {}

  void begin(std::size_t i) {
    const Layer<T>& l = task_.layers[i];
    sums_.begin(l.out, l.in, false, task_.samples, task_.below(i), task_.collective);
  }
  // A tile of t samples, r: those of R, v: those of V_{i−1}.
  void add(Index chunk, Index t, const T* r, const T* v, const Panels<T>& panels) {
    sums_.add(chunk, t, r, v, panels);
  }
  // dist², once all samples have been added.
  double squared(std::size_t i, double rho) {
    const Layer<T>& l = task_.layers[i];
    sums_.reduce(task_.collective, task_.threads);
    const int team = team_for_entries(l.out * l.in, task_.threads);
    parallel_blocks(l.out, SpdSolver::block, team, [&](Index first, Index last, int) {
      for (Index j = 0; j < l.in; ++j)
        for (Index r = first; r < last; ++r)
          gradient_.data()[r * l.in + j] = static_cast<T>(-rho * sums_.cross(r, j));
    });
    double squared = l.regularizer->squared_distance(l.out, l.in, l.W, gradient_.data());
    if (l.b) squared += square(rho) * sum_of_squares(l.out, sums_.sum_r());
    return squared;
  }

 private:
  const Task<T>& task_;
  SampleSums<T> sums_;
  Buffer<T> gradient_;
};

}  // namespace amcore
