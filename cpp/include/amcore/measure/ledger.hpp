// The ledger of a sweep: what the passes have found out, by layer, and the report made of it.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>

#include "amcore/error.hpp"
#include "amcore/measure/report.hpp"

namespace amcore {

// Of one layer; which term and which block has which number is the scheme's.
struct LayerEntries {
  double regularizer_w = 0, regularizer_v = 0;  // r_i(W_i), s_i(V_i)
  std::array<double, 3> terms{};                // the layer's others of the objective
  std::array<double, 4> distance{}, step{};     // of its blocks, squared
  double decrease = 0;
};

class Ledger {
 public:
  // Of the blocks of a layer, in their order.
  struct Blocks {
    std::vector<const char*> hidden, top;
  };
  struct Names {
    std::vector<const char*> terms;
    Blocks distance, step;
    std::vector<const char*> phases;
    const char* output;  // the variable whose overflow makes the objective infinite
    bool kinks = false;  // whether pattern_changes are monitored
  };

  Ledger(std::size_t layers, bool activation_regularizer, const Names& names)
      : layers_(layers),
        first_term_(activation_regularizer ? 3 : 2),
        output_(names.output),
        kinks_(names.kinks) {
    report_.parts = {{"loss", 0}, {"weight_regularizer", 0}};
    if (activation_regularizer) report_.parts.emplace_back("activation_regularizer", 0);
    for (const char* term : names.terms)
      for (std::size_t i = 1; i <= layers; ++i)
        report_.parts.emplace_back(term + std::to_string(i), 0);
    for (std::size_t i = 0; i < layers; ++i) {
      const bool top = i + 1 == layers;
      add(top ? names.distance.top : names.distance.hidden, i, layers_[i].distance,
          report_.distance, distance_);
      add(top ? names.step.top : names.step.hidden, i, layers_[i].step, report_.step_norm, step_);
    }
    if (names.kinks) report_.monitors = {{"pattern_changes", 0}};
    for (const char* phase : names.phases) report_.seconds.emplace_back(phase, 0);
    report_.marks.reserve(1);
  }

  void begin() {
    std::fill(layers_.begin(), layers_.end(), LayerEntries{});
    loss = pattern_changes = 0;
    for (auto& [phase, seconds] : report_.seconds) seconds = 0;
    report_.marks.clear();
  }

  LayerEntries& operator[](std::size_t i) { return layers_[i]; }
  double loss = 0;
  // Entries whose piece of a piecewise linear activation has changed in the sweep.
  double pattern_changes = 0;

  // Wall time of a phase.
  template <class Body> void time(std::size_t phase, Body&& body) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    report_.seconds[phase].second += elapsed.count();
  }
  // An event of the sweep.
  void mark(const char* event) { report_.marks.emplace_back(event); }
  Named& monitors() { return report_.monitors; }

  // The loss with the regularisers and the first few terms of every layer.
  double sum(std::size_t terms) const {
    double total = loss;
    for (const LayerEntries& l : layers_) {
      double of_layer = l.regularizer_w + l.regularizer_v;
      for (std::size_t k = 0; k < terms; ++k) of_layer += l.terms[k];
      total += of_layer;
    }
    return total;
  }

  // dist²(0, ∂f) of all blocks.
  double squared_distance() const {
    double total = 0;
    for (const double* squared : distance_) total += *squared;
    return total;
  }

  // `measured`: with distances; `swept`: after a sweep, else of a state as it is.
  const Report& report(double objective, double squared_distance, bool measured, bool swept) {
    constexpr double unmeasured = std::numeric_limits<double>::quiet_NaN();
    const auto root = [=](double squared, bool known) {
      return known ? std::sqrt(squared) : unmeasured;
    };
    Report& r = report_;
    r.objective = objective;
    r.parts[0].second = loss;
    for (std::size_t k = 1; k < first_term_; ++k) r.parts[k].second = 0;
    double decrease = 0;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const LayerEntries& l = layers_[i];
      r.parts[1].second += l.regularizer_w;
      if (first_term_ > 2) r.parts[2].second += l.regularizer_v;
      for (std::size_t k = 0, at = first_term_ + i; at < r.parts.size(); ++k, at += layers_.size())
        r.parts[at].second = l.terms[k];
      decrease += l.decrease;
    }
    if (kinks_) r.monitors[0].second = pattern_changes;
    for (std::size_t k = 0; k < distance_.size(); ++k)
      r.distance[k].second = root(*distance_[k], measured);
    for (std::size_t k = 0; k < step_.size(); ++k)
      r.step_norm[k].second = root(*step_[k], measured && swept);
    r.subgradient_distance = root(squared_distance, measured);
    r.decrease = measured && swept ? decrease : unmeasured;
    if (!std::isfinite(r.objective))
      throw NumericalError("the objective is not finite", static_cast<int>(layers_.size()),
                           output_);
    return r;
  }

 private:
  static void add(const std::vector<const char*>& blocks, std::size_t i,
                  const std::array<double, 4>& squares, Named& named,
                  std::vector<const double*>& entries) {
    for (std::size_t k = 0; k < blocks.size(); ++k) {
      named.emplace_back(blocks[k] + std::to_string(i + 1), 0);
      entries.push_back(&squares[k]);
    }
  }

  std::vector<LayerEntries> layers_;
  std::vector<const double*> distance_, step_;  // entries of layers_ in the report's order
  const std::size_t first_term_;  // of the parts: those before are the loss and the regularisers
  const char* const output_;
  const bool kinks_;
  Report report_;
};

}  // namespace amcore
