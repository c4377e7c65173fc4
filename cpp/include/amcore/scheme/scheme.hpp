// What every scheme has: sweeps and measurements of a state that it does not own.
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "amcore/activation/activation.hpp"
#include "amcore/regularizer/regularizer.hpp"

namespace amcore {

// One layer of the network with its variables. Arrays belong to the caller and are updated in
// place; those that a scheme does not have are null.
template <class T> struct Layer {
  Index in, out;
  bool skip;  // V couples to V_{i−1} + σ(U)
  const Activation<T>* activation;
  const Regularizer<T>* regularizer;  // of W
  T* W = nullptr;                     // out × in, row-major
  T* b = nullptr;                     // out
  T* U = nullptr;                     // out × n, as all below
  T* V = nullptr;
  T* Lambda = nullptr;
  T* W_old = nullptr;  // of the sweep before
  T* b_old = nullptr;
  T* V_old = nullptr;
  const Regularizer<T>* activation_regularizer = nullptr;  // of V; null: none
};

// Named numbers in a fixed order.
using Named = std::vector<std::pair<std::string, double>>;

// What was not measured is NaN.
struct Report {
  double objective = 0;
  double decrease = 0;              // previous objective − this one, accurate relative to the steps
  double subgradient_distance = 0;  // dist(0, ∂f)
  Named parts;                      // of the objective
  Named distance;                   // dist(0, ∂f) block by block
  Named step_norm;                  // ‖new − old‖ block by block
  Named monitors;                   // what else the scheme watches
  Named seconds;                    // wall time by phase
  std::vector<std::string> marks;   // events of the sweep
};

class Scheme {
 public:
  virtual ~Scheme() = default;
  virtual void forward() = 0;           // the auxiliary variables by the forward pass
  virtual const Report& measure() = 0;  // objective and distance of the state as it is
  virtual const Report& sweep(
      bool measure) = 0;  // one sweep; the objective always, the rest if `measure`
};

}  // namespace amcore
