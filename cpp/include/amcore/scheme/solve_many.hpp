// Many independent runs, each on one thread, as many at a time as there are threads.
#pragma once

#include <chrono>
#include <cmath>
#include <exception>

#include "amcore/error.hpp"
#include "amcore/parallel.hpp"
#include "amcore/scheme/scheme.hpp"

namespace amcore {

struct Stopping {
  Index sweeps;         // at most
  double tolerance;     // stop where a measured dist(0, ∂f) is at most this
  Index measure_every;  // sweeps, and at the last one
};

// What a run leaves beside its state: a row of numbers for the start and for every sweep, wall time
// in seconds, objective, dist(0, ∂f), decrease and the families of the report in their order.
struct History {
  std::vector<double> numbers;
  Index rows = 0;
  std::vector<std::pair<Index, std::string>> marks;  // by sweep
  const Report* report = nullptr;                    // the scheme's, for the names
  std::exception_ptr error;                          // that ended the run

  void add(double seconds, const Report& latest) {
    for (const double x : {seconds, latest.objective, latest.subgradient_distance, latest.decrease})
      numbers.push_back(x);
    for (const Named* family :
         {&latest.parts, &latest.distance, &latest.step_norm, &latest.monitors, &latest.seconds})
      for (const auto& [name, value] : *family) numbers.push_back(value);
    for (const std::string& text : latest.marks) marks.emplace_back(rows, text);
    ++rows;
    report = &latest;
  }
};

// From the weights of the state; interrupted() is asked before every sweep.
template <class Interrupted> void run_alone(Scheme& scheme, const Stopping& stopping,
                                            History& history, Interrupted&& interrupted) {
  const auto timed = [&](bool measured, auto&& work) {
    const auto start = std::chrono::steady_clock::now();
    const Report& report = work();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (!std::isfinite(report.objective))
      throw NumericalError("the objective is not finite", 0, "objective");
    if (measured && !std::isfinite(report.subgradient_distance))
      throw NumericalError("dist(0, ∂f) is not finite, its square overflows", 0, "distance");
    history.add(elapsed.count(), report);
    return measured && report.subgradient_distance <= stopping.tolerance;
  };
  try {
    bool done = timed(true, [&]() -> const Report& {
      scheme.forward();
      return scheme.measure();
    });
    for (Index k = 1; k <= stopping.sweeps && !done && !interrupted(); ++k) {
      const bool measure = k % stopping.measure_every == 0 || k == stopping.sweeps;
      done = timed(measure, [&]() -> const Report& { return scheme.sweep(measure); });
    }
  } catch (...) {
    history.error = std::current_exception();
  }
}

// interrupted(thread): whether to stop; thread 0 is the caller's.
template <class Interrupted>
void solve_many(const std::vector<Scheme*>& schemes, const Stopping& stopping, int threads,
                std::vector<History>& histories, Interrupted&& interrupted) {
  parallel_for(static_cast<Index>(schemes.size()), threads, [&](Index run, int thread) {
    const auto at = static_cast<std::size_t>(run);
    run_alone(*schemes[at], stopping, histories[at], [&] { return interrupted(thread); });
  });
}

}  // namespace amcore
