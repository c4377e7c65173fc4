// Alternating minimisation of one batch after the other, each from its forward pass, with a
// safeguard on the objective of all samples.
#pragma once

#include <chrono>
#include <numbers>

#include "amcore/check.hpp"
#include "amcore/error.hpp"
#include "amcore/measure/online_am.hpp"
#include "amcore/pass/exact_blocks.hpp"
#include "amcore/pass/gram_preconditioner.hpp"
#include "amcore/pass/random_order.hpp"
#include "amcore/scheme/declaration.hpp"
#include "amcore/scheme/scheme.hpp"

namespace amcore {

struct OnlineAMOptions {
  int batch_size, gram_every, safeguard_every;
  double eta, lam;
  double inverse_rho_out, inverse_epsilon, inverse_clip;
  double label_smoothing;  // of distributions
  std::string schedule;
  double average, safeguard;

  template <class Visit> void each(Visit&& option) {
    option("batch_size", batch_size);
    option("gram_every", gram_every);
    option("safeguard_every", safeguard_every);
    option("eta", eta, Range::positive);
    option("lam", lam, Range::positive);
    option("inverse_rho_out", inverse_rho_out, Range::nonnegative);
    option("inverse_epsilon", inverse_epsilon, Range::nonnegative);
    option("inverse_clip", inverse_clip, Range::nonnegative);
    option("label_smoothing", label_smoothing, Range::nonnegative);
    option("schedule", schedule, {"linear", "cosine", "constant"});
    option("average", average, Range::nonnegative);
    option("safeguard", safeguard, Range::nonnegative);
  }
};

// Minimises over W, b the regularised loss of the network itself, ω_j the weights of the samples,
//
//   f = c Σ_j ω_j ℓ(V_N) + Σ λ_i/2 ‖W_i‖², V_i = [V_{i−1} +] σ_i(P_i), P_i = W_i V_{i−1} + b_i1ᵀ.
//
// For the B samples of a batch, from the output down,
//
//   dV_N = ω (prox_{ℓ/ρ}(V_N) − V_N);                                         ρ = ∞: −ω ∇ℓ(V_N)
//   R_i  = dV_i ⊙ σ_i'(P_i);
//   dV_i = argmin ½‖R_{i+1} − W_{i+1} dV‖² + ε/2 ‖dV‖² [+ ½‖dV_{i+1} − dV‖²],
//          ε a multiple of ‖W_{i+1}‖²/d_{i+1};               ε = ∞: W_{i+1}ᵀ R_{i+1} [+ dV_{i+1}]
//
// and then for every layer, V̄ = [V, 1],
//
//   C_i = R_i V̄_{i−1}ᵀ/B − u_i λ_i/(cΣω) [W_i, 0],   D_i = C_i (G_i + Λ_i)⁻¹,
//   [W_i, b_i] += θ D_i/√v_i,   v_i ≥ q/clip² the running mean of q = ⟨C_i, D_i⟩/d_i.
//
// The NumPy definition of the same name tells what G, Λ, u, θ are and how the safeguard works.
//
// Source: our own algebra; condition A1 is from Xu, Bao, Xing (2022).
template <class T> class OnlineAM final : public Scheme {
 public:
  using Options = OnlineAMOptions;

  static Declaration declaration() {
    return {.variables = {{"W"},
                          {"b"},
                          {.name = "W_old", .optional = true},
                          {.name = "b_old", .optional = true},
                          {"v"},
                          {.name = "components", .first = true},
                          {.name = "center", .first = true},
                          {.name = "G", .upper = true}},
            .numbers = {"epochs", "planned", "shuffle", "halvings"},
            .skip = true,
            .sample_weights = true,
            .ridge = true};
  }

  OnlineAM(const Problem<T>& problem, const Options& options, const Execution& execution)
      : layers_(problem.layers),
        options_(options),
        epochs_(*problem.numbers.at(0)),
        planned_(*problem.numbers.at(1)),
        shuffle_(*problem.numbers.at(2)),
        halvings_(*problem.numbers.at(3)),
        collective_(execution.collective),
        share_(problem.samples, collective_),
        border_(problem.layers[0].b ? 1 : 0),
        has_old_(problem.layers[0].W_old != nullptr),
        batches_(blocks_of(share_.total, Index{options.batch_size})),
        capacity_(blocks_of(share_.total, batches_)),
        threads_(worth_a_team(flops(), execution.threads)),
        order_(share_, batches_),
        report_(layers_.size()) {
    const Layer<T>& first = layers_[0];
    prepare_samples(problem);
    whitening_ = std::make_unique<Whitening<T>>(first.in, first.rank, first.out, border_ > 0,
                                                first.components, first.center, execution.threads);
    inputs_ = Buffer<T>(share_.size * whitening_->width());
    whitening_->inputs(share_.size, problem.X, inputs_.data());
    pass_ = std::make_unique<BatchPass<T>>(problem, inputs_.data(), whitening_->width(),
                                           targets_.data(), omega_.data(), capacity_, threads_);
    sums_ = std::make_unique<BatchSums<T>>(*pass_, collective_, threads_);
    preconditioner_ =
        std::make_unique<GramPreconditioner<T>>(problem, *sums_, options_.lam, threads_);
    if (options_.inverse_epsilon > 0)
      exact_blocks_ =
          std::make_unique<ExactBlocks<T>>(problem, *pass_, options_.inverse_epsilon, threads_);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const auto& of = pass_->layers()[i];
      ridge_.push_back(layers_[i].regularizer->ridge() / total_);
      const Index size = layers_[i].out * (layers_[i].in + border_);
      for (WeightPoint<T>* point : {&start_, &end_, &trial_, &direction_})
        point->emplace_back(size);
      if (has_old_) old_.emplace_back(size);
      for (WeightPoint<T>* point : {&trial_, &old_})
        if (i < point->size()) std::fill_n((*point)[i].data(), size, static_cast<T>(unmeasured));
      step_.emplace_back(of.out * of.in);
      if (averages()) mean_.emplace_back(of.out * of.in);
    }
    kept_lengths_.resize(layers_.size());
    units_.assign(layers_.size(), output_unit());
    steps_.assign(layers_.size(), T(0));
    for (OnlineMeasures* measures : {&current_, &last_, &now_})
      measures->squared_distance.assign(layers_.size(), 0.0);
    objective_ = std::make_unique<OnlineObjective<T>>(problem, *whitening_, *pass_, *sums_, ridge_,
                                                      batches_, share_, collective_, threads_);
  }

  // W_1 is projected on the components that are kept; what the network does to the mean input
  // stays.
  void forward() override {
    read(start_);
    objective_->load(start_);
    unload_weights(end_);
    write(end_);
    keep(end_);
  }

  const Report& measure() override {
    const double begin = now();
    read(start_);
    (*objective_)(start_, true, current_);
    copy(start_, trial_);
    report_.event(OnlineReport::none);
    for (auto& [name, value] : report_.step_norm()) value = unmeasured;
    report_.measures(current_, total_, true);
    report_.set(unmeasured, unmeasured, c1() / total_);
    report_.seconds()[0].second = 0;
    report_.seconds()[1].second = now() - begin;
    return report_.get();
  }

  const Report& sweep(bool measure) override {
    const double begin = now();
    agree_on_numbers();
    read(start_);
    if (changed(start_, trial_)) (*objective_)(start_, false, current_);
    const double before = current_.value();
    remember();
    const double batch_loss = epoch();
    const double middle = now();
    OnlineReport::Event event = OnlineReport::none;
    const bool checked = is_checked();
    if (checked) {
      event = safeguard();
      last_ = current_;
      if (has_old_) copy(trial_, old_);
    } else {
      for (std::size_t i = 0; i < layers_.size(); ++i)
        if (!all_finite(end_[i].size(), end_[i].data())) {
          forget();
          throw NumericalError("a non-finite value appeared; take a smaller eta or the safeguard",
                               static_cast<int>(i) + 1, "W");
        }
      (*objective_)(end_, measure, current_);
      std::swap(trial_, end_);
    }
    read(start_);
    for (std::size_t i = 0; i < layers_.size(); ++i)
      report_.step_norm()[i].second =
          measure
              ? std::sqrt(squared_difference(trial_[i].size(), trial_[i].data(), start_[i].data()))
              : unmeasured;
    write(trial_);
    if (checked) keep(trial_);
    epochs_ += 1;
    report_.event(event);
    report_.measures(current_, total_, measure);
    report_.set(measure ? total_ * (before - current_.value()) : unmeasured, total_ * batch_loss,
                c1() / total_);
    report_.seconds()[0].second = middle - begin;
    report_.seconds()[1].second = now() - middle;
    return report_.get();
  }

 private:
  // Rates of the running means of a Gram matrix and of the squared length of a step; batches over
  // which steps grow to their length; batches at the start that all go into the Gram matrices; the
  // share of its slope that the fall of f along the fall-back direction has to reach (Armijo), and
  // how often that step is halved.
  static constexpr double gram_rate = 0.05, length_rate = 0.02, armijo = 0.1;
  static constexpr Index warm_up = 20, first_batches = 10;
  static constexpr int halvings = 40;
  static constexpr double unmeasured = std::numeric_limits<double>::quiet_NaN();

  static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  // Of a batch, about.
  double flops() const {
    double total = 0;
    for (const Layer<T>& layer : layers_)
      total += 6.0 * static_cast<double>(capacity_) * static_cast<double>(layer.in) *
               static_cast<double>(layer.out);
    return total;
  }
  double output_unit() const { return options_.inverse_rho_out > 0 ? options_.inverse_rho_out : 1; }
  bool averages() const { return tail() > 1; }
  // Batches at the end of an epoch whose weights are averaged.
  Index tail() const {
    return std::max<Index>(
        1, static_cast<Index>(std::nearbyint(options_.average * static_cast<double>(batches_))));
  }
  std::size_t depth() const { return layers_.size(); }
  // body(piece, rows, thread) for the pieces of the weights.
  template <class Body> void each_piece(Body&& body) {
    const auto& pieces = sums_->weight_rows();
    parallel_for(static_cast<Index>(pieces.size()), threads_, [&](Index piece, int thread) {
      body(piece, pieces[static_cast<std::size_t>(piece)], thread);
    });
  }

  // Targets smoothed, weights of mean 1, cΣω.
  void prepare_samples(const Problem<T>& problem) {
    const Index K = layers_.back().out;
    targets_ = Buffer<T>(share_.size * K);
    const auto share = static_cast<T>(options_.label_smoothing);
    for (Index k = 0; k < share_.size * K; ++k)
      targets_.data()[k] =
          share > 0 ? (1 - share) * problem.Y[k] + share / static_cast<T>(K) : problem.Y[k];
    double weight = static_cast<double>(share_.total);
    if (problem.sample_weight) {
      weight = sum(share_.size, [&](Index j) { return problem.sample_weight[j]; });
      collective_.sum(&weight, 1);
      omega_ = Buffer<T>(share_.size);
      const double mean = weight / static_cast<double>(share_.total);
      for (Index j = 0; j < share_.size; ++j)
        omega_.data()[j] = static_cast<T>(problem.sample_weight[j] / mean);
    }
    total_ = problem.loss_weight * weight;
  }

  // An epoch: from `start_` to `end_`; the mean of the loss over the batches on the way.
  double epoch() {
    objective_->load(start_);
    const auto done = static_cast<Index>(epochs_);
    order_.draw(static_cast<std::uint64_t>(shuffle_), done);
    preconditioner_->invert();
    for (Buffer<T>& mean : mean_) std::fill_n(mean.data(), mean.size(), T(0));
    double loss = 0;
    for (Index b = 0; b < batches_; ++b) {
      const Index k = done * batches_ + b, samples = order_.total(b);
      const bool gram = depth() > 1 && (k < first_batches || k % Index{options_.gram_every} == 0);
      if (exact_blocks_) exact_blocks_->prepare(units_);
      const Batch batch = order_[b];
      loss += (*pass_)(batch, gram ? Reach::gram : Reach::residuals,
                       {options_.inverse_rho_out, exact_blocks_ != nullptr}) /
              static_cast<double>(share_.total);
      (*sums_)(batch.size, gram);
      sums_->reduce(gram);
      if (gram)
        preconditioner_->update(std::max(gram_rate, 1.0 / static_cast<double>(k + 1)), samples);
      each_piece([&](Index piece, const LayerRows& rows, int thread) {
        objective_->finish_rows(rows, samples, units_[rows.layer]);
        (*preconditioner_)(piece, thread, step_);
      });
      for (std::size_t i = 0; i < depth(); ++i) steps_[i] = static_cast<T>(step_length(k, i));
      step(b >= batches_ - tail());
    }
    if (averages())
      objective_->unload(mean_, end_);
    else
      unload_weights(end_);
    collective_.sum(&loss, 1);
    return loss;
  }

  // θ/√v_i for batch k.
  double step_length(Index k, std::size_t i) {
    const double q = preconditioner_->inner_product(i) / static_cast<double>(layers_[i].out);
    T& length = *layers_[i].v;
    length += static_cast<T>(length_rate * (q - static_cast<double>(length)));
    const auto count = static_cast<double>(k + 1);
    const double mean = static_cast<double>(length) / (1 - std::pow(1 - length_rate, count));
    const double v = std::max(mean, q * square(options_.inverse_clip));
    const double planned = planned_ * static_cast<double>(batches_);
    const double u = static_cast<double>(k) / planned;
    double s = 1;
    if (options_.schedule == "linear") s = 1 - u;
    if (options_.schedule == "cosine") s = (1 + std::cos(std::numbers::pi * u)) / 2;
    const double theta = options_.eta * s * std::min(1.0, count / static_cast<double>(warm_up));
    return v > 0 ? theta / std::sqrt(v) : 0;
  }

  // W̄_i += steps_[i] D_i, and what the next pass needs of it.
  void step(bool in_tail) {
    const auto share = static_cast<T>(1.0 / static_cast<double>(tail()));
    each_piece([&](Index, const LayerRows& rows, int) {
      const auto& [i, first, last] = rows;
      auto& of = pass_->layers()[i];
      const T length = steps_[i];
      const T* const D = step_[i].data();
      T* const W = of.W.data();
      for (Index j = 0; j < of.in; ++j)
        for (Index k = j * of.out + first; k < j * of.out + last; ++k) W[k] += length * D[k];
      if (averages() && in_tail) {
        T* const mean = mean_[i].data();
        for (Index j = 0; j < of.in; ++j)
          for (Index k = j * of.out + first; k < j * of.out + last; ++k) mean[k] += W[k] * share;
      }
      pass_->pack_rows(i, first, last);
    });
  }

  // The safeguard.

  // c₁ for f/(cΣω), halved as often as the state says.
  double c1() const { return std::ldexp(options_.safeguard, -static_cast<int>(halvings_)); }
  // Is the epoch at work safeguarded: every so many, and a schedule's last?
  bool is_checked() const {
    const Index done = static_cast<Index>(epochs_) + 1;
    return options_.safeguard > 0 &&
           (done % Index{options_.safeguard_every} == 0 || done == static_cast<Index>(planned_));
  }

  // The point that is accepted after an epoch, into `trial_`, with its measures in `current_`.
  OnlineReport::Event safeguard() {
    if (!has_old_) {
      last_ = current_;
    } else {
      read(start_, true);
      if (changed(start_, old_)) (*objective_)(start_, false, last_);
    }
    constexpr std::pair<double, OnlineReport::Event> points[] = {
        {1.0, OnlineReport::none}, {0.5, OnlineReport::halfway}, {0.25, OnlineReport::quarter}};
    for (const auto& [share, event] : points) {
      for (std::size_t i = 0; i < depth(); ++i)
        for (Index k = 0; k < end_[i].size(); ++k)
          trial_[i].data()[k] = start_[i].data()[k] +
                                static_cast<T>(share) * (end_[i].data()[k] - start_[i].data()[k]);
      (*objective_)(trial_, true, now_);
      if (last_.value() - now_.value() >= c1() * now_.squared_gradient()) {
        current_ = now_;
        return event;
      }
    }
    forget();
    gradient_step();
    return OnlineReport::gradient_step;
  }

  // A step from `start_` along D of all samples that meets Armijo's condition; c₁ is halved to fit
  // it. The start itself, where no step makes f fall by more than rounding.
  void gradient_step() {
    preconditioner_->invert();
    (*objective_)(start_, true, current_);
    each_piece([&](Index piece, const LayerRows&, int thread) {
      (*preconditioner_)(piece, thread, step_);
    });
    double slope = 0;
    for (std::size_t i = 0; i < depth(); ++i) slope += preconditioner_->inner_product(i);
    objective_->unload(step_, direction_);
    double t = 1;
    for (int halving = 0; halving < halvings; ++halving, t /= 2) {
      for (std::size_t i = 0; i < depth(); ++i)
        for (Index k = 0; k < trial_[i].size(); ++k)
          trial_[i].data()[k] = start_[i].data()[k] + static_cast<T>(t) * direction_[i].data()[k];
      (*objective_)(trial_, false, now_);
      const double fall = last_.value() - now_.value();
      if (!(fall > 0 && fall >= armijo * t * slope)) continue;
      (*objective_)(trial_, true, current_);
      while (fall < c1() * current_.squared_gradient()) halvings_ += 1;
      return;
    }
    copy(start_, trial_);
  }

  // G and v as they were when the epoch began.
  void remember() {
    preconditioner_->remember();
    for (std::size_t i = 0; i < depth(); ++i) kept_lengths_[i] = *layers_[i].v;
  }
  void forget() {
    preconditioner_->restore();
    for (std::size_t i = 0; i < depth(); ++i) *layers_[i].v = kept_lengths_[i];
  }

  // What decides how a sweep goes is the same on all processes, whatever has been written into the
  // state of one of them.

  // Of the numbers of the state the greatest.
  void agree_on_numbers() {
    std::array<double*, 4> numbers{&epochs_, &planned_, &shuffle_, &halvings_};
    std::array<double, 4> greatest;
    for (std::size_t k = 0; k < 4; ++k) greatest[k] = *numbers[k];
    collective_.max(greatest.data(), 4);
    for (std::size_t k = 0; k < 4; ++k) *numbers[k] = greatest[k];
    if (!all_finite(4, greatest.data()))
      throw NumericalError("a number of the state is not finite", 0, "numbers");
  }
  // Are weights other ones than those that were measured, on any process?
  bool changed(const WeightPoint<T>& now, const WeightPoint<T>& measured) {
    double differ = same(now, measured) ? 0 : 1;
    collective_.max(&differ, 1);
    return differ > 0;
  }

  // Weights in the state and as points.

  static bool same(const WeightPoint<T>& a, const WeightPoint<T>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), [](const Buffer<T>& x, const Buffer<T>& y) {
      return std::equal(x.data(), x.data() + x.size(), y.data());
    });
  }
  static void copy(const WeightPoint<T>& from, WeightPoint<T>& to) {
    for (std::size_t i = 0; i < from.size(); ++i)
      std::copy_n(from[i].data(), from[i].size(), to[i].data());
  }
  void read(WeightPoint<T>& point, bool old = false) const {
    for (std::size_t i = 0; i < depth(); ++i) {
      const Layer<T>& layer = layers_[i];
      const T *const W = old ? layer.W_old : layer.W, *const b = old ? layer.b_old : layer.b;
      for (Index r = 0; r < layer.out; ++r) {
        T* const to = point[i].data() + r * (layer.in + border_);
        std::copy_n(W + r * layer.in, layer.in, to);
        if (b) to[layer.in] = b[r];
      }
    }
  }
  void write(const WeightPoint<T>& point, bool old = false) const {
    for (std::size_t i = 0; i < depth(); ++i) {
      const Layer<T>& layer = layers_[i];
      T *const W = old ? layer.W_old : layer.W, *const b = old ? layer.b_old : layer.b;
      for (Index r = 0; r < layer.out; ++r) {
        const T* const from = point[i].data() + r * (layer.in + border_);
        std::copy_n(from, layer.in, W + r * layer.in);
        if (b) b[r] = from[layer.in];
      }
    }
  }
  // As those of the last safeguarded epoch, where the state has them.
  void keep(const WeightPoint<T>& point) const {
    if (has_old_) write(point, true);
  }
  void unload_weights(WeightPoint<T>& point) {
    for (std::size_t i = 0; i < depth(); ++i) {
      const Buffer<T>& W = pass_->layers()[i].W;
      std::copy_n(W.data(), W.size(), step_[i].data());
    }
    objective_->unload(step_, point);
  }

  const std::vector<Layer<T>> layers_;
  const Options options_;
  double &epochs_, &planned_, &shuffle_, &halvings_;
  Collective& collective_;
  const Share share_;
  const Index border_;
  const bool has_old_;
  const Index batches_, capacity_;
  const int threads_;
  double total_ = 0;  // cΣω
  Buffer<T> targets_, omega_, inputs_;
  std::unique_ptr<Whitening<T>> whitening_;
  std::unique_ptr<BatchPass<T>> pass_;
  std::unique_ptr<BatchSums<T>> sums_;
  std::unique_ptr<GramPreconditioner<T>> preconditioner_;
  std::unique_ptr<ExactBlocks<T>> exact_blocks_;  // null: ε = ∞
  std::vector<double> ridge_;                     // λ_i/(cΣω)
  std::unique_ptr<OnlineObjective<T>> objective_;
  RandomOrder order_;
  WeightPoint<T> start_, end_, direction_;
  WeightPoint<T> trial_, old_;           // last: where `current_` and `last_` are known
  std::vector<Buffer<T>> step_, mean_;   // D_i; means of W̄_i, if wanted
  std::vector<T> kept_lengths_;          // v as it was before the epoch
  std::vector<double> units_;            // u_i
  std::vector<T> steps_;                 // θ/√v_i
  OnlineMeasures current_, last_, now_;  // at the state's weights; the last safeguarded; a trial's
  OnlineReport report_;
};

}  // namespace amcore
