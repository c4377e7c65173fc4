// What OnlineAM measures: the regularised loss of the network at given weights and its gradient,
// over all samples; and the report.
#pragma once

#include "amcore/linalg/whitening.hpp"
#include "amcore/measure/report.hpp"
#include "amcore/pass/batch_sums.hpp"

namespace amcore {

// [W_i, b_i] of every layer, row-major.
template <class T> using WeightPoint = std::vector<Buffer<T>>;

// Of f/(cΣω) at some weights.
struct OnlineMeasures {
  double loss = 0, ridge = 0;
  std::vector<double> squared_distance;  // ‖∇_{W̄_i}‖² by layers

  double value() const { return loss + ridge; }
  double squared_gradient() const {
    double total = 0;
    for (const double squared : squared_distance) total += squared;
    return total;
  }
};

template <class T> class OnlineObjective {
 public:
  OnlineObjective(const Problem<T>& problem, const Whitening<T>& whitening, BatchPass<T>& pass,
                  const BatchSums<T>& sums, const std::vector<double>& ridge, Index batches,
                  const Share& share, Collective& collective, int threads)
      : layers_(problem.layers),
        share_(share),
        collective_(collective),
        whitening_(whitening),
        pass_(pass),
        sums_(sums),
        ridge_(ridge),
        batches_(batches),
        threads_(threads),
        squares_(static_cast<Index>(sums.weight_rows().size())) {}

  // The weights for the pass, in whitened inputs, from [W, b] of every layer.
  void load(const WeightPoint<T>& point) {
    auto& operands = pass_.layers();
    whitening_.to(point[0].data(), operands[0].W.data());
    for (std::size_t i = 1; i < operands.size(); ++i) {
      auto& of = operands[i];
      for (Index j = 0; j < of.in; ++j)
        for (Index r = 0; r < of.out; ++r)
          of.W.data()[j * of.out + r] = point[i].data()[r * of.in + j];
    }
    each_piece(
        [&](Index, const LayerRows& rows) { pass_.pack_rows(rows.layer, rows.first, rows.last); });
  }
  // And from weights (column-major), those of the first layer in whitened inputs.
  void unload(const std::vector<Buffer<T>>& weights, WeightPoint<T>& point) const {
    whitening_.from(weights[0].data(), point[0].data());
    for (std::size_t i = 1; i < weights.size(); ++i) {
      const auto& of = pass_.layers()[i];
      for (Index j = 0; j < of.in; ++j)
        for (Index r = 0; r < of.out; ++r)
          point[i].data()[r * of.in + j] = weights[i].data()[j * of.out + r];
    }
  }

  // C_i = −∇_{W̄_i} f/(cΣω), if `gradient`, is left in the sums.
  void operator()(const WeightPoint<T>& point, bool gradient, OnlineMeasures& to) {
    load(point);
    to.loss = to.ridge = 0;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Index row = layers_[i].in + border(i), in = layers_[i].in;
      double squares = 0;
      for (Index r = 0; r < layers_[i].out && ridge_[i] > 0; ++r)
        squares += sum_of_squares(in, point[i].data() + r * row);
      to.ridge += ridge_[i] / 2 * squares;
    }
    for (Index b = 0; b < batches_; ++b) {
      const Index first = b * share_.size / batches_, end = (b + 1) * share_.size / batches_;
      const Batch batch{nullptr, first, end - first};
      to.loss += pass_(batch, gradient ? Reach::residuals : Reach::loss);
      if (gradient) sums_(batch.size, false, b == 0 ? Update::assign : Update::add);
    }
    collective_.sum(&to.loss, 1);
    to.loss /= static_cast<double>(share_.total);
    if (!gradient) return;
    sums_.reduce(false);
    finish(to);
  }

  // Rows of C_i after so many samples: of the sums' R_i V̄ᵀ/samples less the ridge's share. `unit`:
  // that of R_i.
  void finish_rows(const LayerRows& rows, Index samples, double unit) {
    const auto& of = pass_.layers()[rows.layer];
    T* const C = sums_.cross(rows.layer);
    const T share = static_cast<T>(1.0 / static_cast<double>(samples));
    const double ridge = unit * ridge_[rows.layer];
    const Index free = of.in - border(rows.layer);
    for (Index j = 0; j < of.in; ++j) {
      const double by = rows.layer == 0 && j < free ? ridge / whitening_.spread()[j] : ridge;
      const T pull = j < free ? static_cast<T>(by) : T(0);
      for (Index r = rows.first; r < rows.last; ++r)
        C[j * of.out + r] = C[j * of.out + r] * share - pull * of.W.data()[j * of.out + r];
    }
  }

 private:
  Index border(std::size_t i) const { return layers_[i].b ? 1 : 0; }

  // body(piece, rows) for the pieces of the weights.
  template <class Body> void each_piece(Body&& body) {
    const auto& pieces = sums_.weight_rows();
    parallel_for(static_cast<Index>(pieces.size()), threads_,
                 [&](Index piece, int) { body(piece, pieces[static_cast<std::size_t>(piece)]); });
  }

  void finish(OnlineMeasures& to) {
    each_piece([&](Index piece, const LayerRows& rows) {
      finish_rows(rows, share_.total, 1.0);
      const auto& of = pass_.layers()[rows.layer];
      const T* const C = sums_.cross(rows.layer) + rows.first;
      double squared = 0;
      for (Index j = 0; j < of.in; ++j)
        squared += sum_of_squares(rows.last - rows.first, C + j * of.out);
      squares_.data()[piece] = squared;
    });
    std::fill(to.squared_distance.begin(), to.squared_distance.end(), 0.0);
    for (std::size_t piece = 0; piece < sums_.weight_rows().size(); ++piece)
      to.squared_distance[sums_.weight_rows()[piece].layer] += squares_.data()[piece];
  }

  const std::vector<Layer<T>> layers_;
  const Share share_;
  Collective& collective_;
  const Whitening<T>& whitening_;
  BatchPass<T>& pass_;
  const BatchSums<T>& sums_;
  const std::vector<double>& ridge_;
  const Index batches_;
  const int threads_;
  Buffer<double> squares_;  // of pieces
};

// The report of an epoch, its names in a fixed order.
class OnlineReport {
 public:
  enum Event { none, halfway, quarter, gradient_step };

  explicit OnlineReport(std::size_t depth) {
    report_.parts = {{"loss", 0}, {"weight_regularizer", 0}};
    for (std::size_t i = 1; i <= depth; ++i) {
      std::string name = "W";
      name += std::to_string(i);
      report_.distance.emplace_back(name, 0);
      report_.step_norm.emplace_back(name, 0);
    }
    report_.monitors = {
        {"rejections", 0}, {"interpolations", 0}, {"fallbacks", 0}, {"batch_loss", 0}, {"c1", 0}};
    report_.seconds = {{"update", 0}, {"objective", 0}};
    report_.marks.reserve(1);
  }

  // total: cΣω;  measured: the gradient is known, and wanted.
  void measures(const OnlineMeasures& now, double total, bool measured) {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    report_.objective = total * now.value();
    report_.parts[0].second = total * now.loss;
    report_.parts[1].second = total * now.ridge;
    for (std::size_t i = 0; i < report_.distance.size(); ++i)
      report_.distance[i].second = measured ? total * std::sqrt(now.squared_distance[i]) : nan;
    report_.subgradient_distance = measured ? total * std::sqrt(now.squared_gradient()) : nan;
  }
  void event(Event event) {
    report_.marks.clear();
    report_.monitors[0].second = event != none;
    report_.monitors[1].second = event == halfway || event == quarter;
    report_.monitors[2].second = event == gradient_step;
    // So short that a string allocates nothing.
    if (event == halfway) report_.marks.emplace_back("½ way accepted");
    if (event == quarter) report_.marks.emplace_back("¼ way accepted");
    if (event == gradient_step) report_.marks.emplace_back("gradient step");
  }
  void set(double decrease, double batch_loss, double c1) {
    report_.decrease = decrease;
    report_.monitors[3].second = batch_loss;
    report_.monitors[4].second = c1;
  }
  Named& step_norm() { return report_.step_norm; }
  Named& seconds() { return report_.seconds; }
  const Report& get() const { return report_; }

 private:
  Report report_;
};

}  // namespace amcore
