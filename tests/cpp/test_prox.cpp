// The proximal map of every operator against brute force: no point of a grid, nor near it, is lower.
#include <algorithm>
#include <limits>

#include "amcore/activation/registry.hpp"
#include "amcore/loss/registry.hpp"
#include "amcore/regularizer/registry.hpp"
#include "test.hpp"

namespace amcore {
namespace {

using test::check;
using test::defaults;
using test::normal;

const std::vector<double> weights = {1e-3, 0.1, 1, 30};
const std::vector<double> shifts = {1e-6, 1e-3, 0.05, 0.5, 3};

template <class T> double rounding(double size) {
  return 64 * static_cast<double>(std::numeric_limits<T>::epsilon()) * (1 + size);
}

// f(u) ≤ f(any other point) to rounding
template <class T, class Function>
void expect_lowest(const char* name, double u, Function&& f, double size) {
  const double at = f(u), slack = rounding<T>(size + std::abs(at));
  check(std::isfinite(u), name, "not finite");
  for (double other = -12; other <= 12; other += 0.01)
    check(at <= f(other) + slack, name, u, at, "but", other, f(other));
  for (const double shift : shifts)
    for (const double other : {u - shift, u + shift})
      check(at <= f(other) + slack, name, u, at, "but", other, f(other));
}

// argmin_u ½(v − σ(u))² + w/2 (u − z)²
template <class Op, class T> void activation(const char* name) {
  const ActivationOf<Op, T> sigma(defaults<Op>());
  const ActivationOf<Op, double> exact(defaults<Op>());
  const auto value = [&](double u) {
    double out;
    exact.value(1, &u, &out);
    return out;
  };
  const Index n = 37;  // vectors, and a rest
  std::vector<T> v = normal<T>(n, 1), z = normal<T>(n, 2), u(v.size());
  v[0] = z[0] = 0;
  v[1] = 8;
  z[2] = -8;
  for (const double w : weights) {
    sigma.prox(n, v.data(), z.data(), static_cast<T>(w), u.data());
    for (std::size_t i = 0; i < v.size(); ++i) {
      const double target = static_cast<double>(v[i]), center = static_cast<double>(z[i]);
      const auto f = [&](double x) {
        const double fit = target - value(x), way = x - center;
        return fit * fit / 2 + static_cast<double>(static_cast<T>(w)) / 2 * way * way;
      };
      expect_lowest<T>(name, static_cast<double>(u[i]), f, target * target + center * center);
    }
  }
}

// argmin_V ℓ(V, y) + ‖V − q‖²/(2 tau), a column at a time
template <class Op, class T> void loss(const char* name) {
  const LossOf<Op, T> ell(defaults<Op>());
  const LossOf<Op, double> exact(defaults<Op>());
  const Index k = 3, n = 11;
  const std::vector<T> q = normal<T>(k * n, 3);
  std::vector<T> y(q.size()), v(q.size());
  for (Index j = 0; j < n; ++j)  // of distributions, and near ±1 for losses of signs
    for (Index i = 0; i < k; ++i)
      y[static_cast<std::size_t>(j * k + i)] = i == j % k           ? T(1)
                                               : ell.is_separable() ? T(-1)
                                                                    : T(0);
  std::mt19937 random(4);
  std::normal_distribution<double> distribution;
  for (const double tau : weights) {
    ell.prox(k, n, q.data(), y.data(), static_cast<T>(tau), v.data());
    for (Index j = 0; j < n; ++j) {
      const auto column = [&](const std::vector<T>& of) {
        return std::vector<double>(of.begin() + j * k, of.begin() + (j + 1) * k);
      };
      const std::vector<double> from = column(q), target = column(y), found = column(v);
      const auto f = [&](const std::vector<double>& x) {
        double way = 0;
        for (std::size_t i = 0; i < x.size(); ++i) way += (x[i] - from[i]) * (x[i] - from[i]);
        return exact.value(k, 1, x.data(), target.data()) +
               way / (2 * static_cast<double>(static_cast<T>(tau)));
      };
      const double least = f(found), slack = rounding<T>(std::abs(least) + 10 / tau);
      for (const double shift : shifts)
        for (int trial = 0; trial < 40; ++trial) {
          std::vector<double> other = found;
          for (double& x : other) x += shift * distribution(random);
          check(least <= f(other) + slack, name, "tau", tau, "sample", j, least, f(other));
        }
    }
  }
}

// argmin_P r(P) + ‖P − x‖²/(2 tau), of a matrix
template <class Op, class T> void regularizer(const char* name) {
  const RegularizerOf<Op, T> r(defaults<Op>());
  const RegularizerOf<Op, double> exact(defaults<Op>());
  const Index rows = 4, columns = 5, size = rows * columns;
  const std::vector<T> x = normal<T>(size, 5);
  std::vector<T> p(x.size());
  std::mt19937 random(6);
  std::normal_distribution<double> distribution;
  for (const double tau : weights) {
    r.prox(rows, columns, x.data(), static_cast<T>(tau), p.data());
    const std::vector<double> found(p.begin(), p.end());
    const auto f = [&](const std::vector<double>& at) {
      double way = 0;
      for (std::size_t i = 0; i < at.size(); ++i) {
        const double d = at[i] - static_cast<double>(x[i]);
        way += d * d;
      }
      return exact.value(rows, columns, at.data()) +
             way / (2 * static_cast<double>(static_cast<T>(tau)));
    };
    // In the set of the operator, to the type's rounding: a hair inside it for sets of norms.
    std::vector<double> inside = found;
    if (!std::isfinite(f(inside)))
      for (double& entry : inside) entry *= 1 - rounding<T>(0);
    const double least = f(inside), slack = rounding<T>(std::abs(least) + 40 / tau);
    check(std::isfinite(least), name, "outside its set", tau);
    for (const double shift : shifts)
      for (int trial = 0; trial < 100; ++trial) {
        std::vector<double> other = found;
        for (double& entry : other)
          if (trial % 2 == 0 || distribution(random) > 1) entry += shift * distribution(random);
        check(least <= f(other) + slack, name, "tau", tau, least, f(other));
      }
    for (std::size_t i = 0; i < found.size(); ++i) {
      std::vector<double> other = found;
      other[i] = 0;
      check(least <= f(other) + slack, name, "tau", tau, "entry", i, least, f(other));
    }
  }
}

template <class T> void activations() {
#define AMCORE_TEST(stem, Op) activation<amcore::activation::Op, T>(#stem);
  AMCORE_ACTIVATION_LIST(AMCORE_TEST)
#undef AMCORE_TEST
}
template <class T> void losses() {
#define AMCORE_TEST(stem, Op) loss<amcore::loss::Op, T>(#stem);
  AMCORE_LOSS_LIST(AMCORE_TEST)
#undef AMCORE_TEST
}
template <class T> void regularizers() {
#define AMCORE_TEST(stem, Op) regularizer<amcore::regularizer::Op, T>(#stem);
  AMCORE_REGULARIZER_LIST(AMCORE_TEST)
#undef AMCORE_TEST
}

}  // namespace
}  // namespace amcore

int main() {
  using namespace amcore;
  return test::run({
      {"activations, float32", activations<float>},
      {"activations, float64", activations<double>},
      {"losses, float32", losses<float>},
      {"losses, float64", losses<double>},
      {"regularisers, float32", regularizers<float>},
      {"regularisers, float64", regularizers<double>},
  });
}
