// The one place where processes meet that hold samples of one problem: what depends on all samples
// is summed over them, or its maximum taken, and all go on with the same bits. Every process comes
// to the same meetings in the same order: nothing that a process finds in its own samples decides
// whether there is one. A meeting throws where another process has failed.
#pragma once

#include "amcore/types.hpp"

namespace amcore {

// Of one process alone.
class Collective {
 public:
  virtual ~Collective() = default;
  // In place, entry by entry.
  virtual void sum(float*, Index) {}
  virtual void sum(double*, Index) {}
  virtual void max(double*, Index) {}
  // The sum of a number over the processes of lower rank.
  virtual double before(double) { return 0; }
};

// The samples of this process, numbered among those of all in the order of ranks.
struct Share {
  Share(Index samples, Collective& collective) : size(samples) {
    double count = static_cast<double>(samples);
    first = static_cast<Index>(collective.before(count));
    collective.sum(&count, 1);
    total = static_cast<Index>(count);
  }
  Index first, size, total;
};

}  // namespace amcore
