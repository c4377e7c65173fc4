// What every scheme has: sweeps and measurements of a state that it does not own.
#pragma once

#include "amcore/measure/report.hpp"

namespace amcore {

class Scheme {
 public:
  Scheme() = default;
  Scheme(const Scheme&) = delete;
  Scheme& operator=(const Scheme&) = delete;
  virtual ~Scheme() = default;
  virtual void forward() = 0;           // the auxiliary variables by the forward pass
  virtual const Report& measure() = 0;  // objective and distance of the state as it is
  virtual const Report& sweep(
      bool measure) = 0;  // one sweep; the objective always, the rest if `measure`
};

}  // namespace amcore
