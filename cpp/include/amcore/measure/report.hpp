// What a scheme tells of a sweep, or of a state.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace amcore {

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

}  // namespace amcore
