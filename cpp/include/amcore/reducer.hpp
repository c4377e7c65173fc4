// The one place where partial sums over samples meet. A scheme hands every such sum, after adding
// its own chunks, to the reducer; a distributed run adds the other processes' sums here.
#pragma once

#include "amcore/types.hpp"

namespace amcore {

class Reducer {
 public:
  virtual ~Reducer() = default;
  virtual void add(float*, Index) {}  // in place, the same result on every process
  virtual void add(double*, Index) {}
};

}  // namespace amcore
