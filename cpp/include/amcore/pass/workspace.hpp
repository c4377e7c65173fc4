// Scratch of one thread.
#pragma once

#include <cassert>
#include <vector>

#include "amcore/block/hidden.hpp"
#include "amcore/pass/task.hpp"

namespace amcore {

// Panels for products, arrays as large as the widest layer's tile under the names that a scheme has
// for them, and what regularised activations need.
template <class T> class Workspace {
 public:
  Workspace(const Task<T>& task, std::size_t arrays) {
    const Index width = std::max(task.in, task.out), samples = task.plan.tile();
    panels = Panels<T>(width, samples);
    if (task.regularizes_activations()) steps = typename HiddenBlock<T>::Workspace(width, samples);
    for (std::size_t k = 0; k < arrays; ++k) arrays_.emplace_back(width * samples);
  }

  T* operator[](std::size_t name) const {
    assert(name < arrays_.size());
    return arrays_[name].data();
  }

  Panels<T> panels;
  typename HiddenBlock<T>::Workspace steps;

 private:
  std::vector<Buffer<T>> arrays_;
};

}  // namespace amcore
