// Symmetric products, Cholesky and substitution over blocks, and what a failure tells.
#include <Eigen/Dense>
#include <limits>

#include "amcore/linalg/spd_solve.hpp"
#include "amcore/linalg/symmetric_product.hpp"
#include "test.hpp"

namespace amcore {
namespace {

using test::check;
using test::near;
using test::normal;

const std::vector<Index> sizes = {1, 2, 5, 47, 48, 49, 96, 100, 145};

Matrix<double> drawn(Index rows, Index columns, unsigned seed) {
  const std::vector<double> entries = normal<double>(rows * columns, seed);
  return Eigen::Map<const Matrix<double>>(entries.data(), rows, columns);
}

Matrix<double> positive_definite(Index n) {
  const Matrix<double> A = drawn(n, n + 3, 1);
  return A * A.transpose() + Matrix<double>::Identity(n, n);
}

void systems_are_solved() {
  for (const Index n : sizes)
    for (const Index sides : {1, 3, 48, 60}) {
      const Matrix<double> A = positive_definite(n), B = drawn(n, sides, 2);
      const Matrix<double> expected = A.ldlt().solve(B);
      Matrix<double> first;
      for (const int threads : {1, 2, 3}) {
        SpdSolver solver(n, sides, threads);
        solver.matrix(n) = A;
        check(!solver.factorise(threads), "positive definite", n);
        Matrix<double> X = B;
        const double norm = solver.solve(X.data(), sides, threads);
        check((X - expected).norm() <= 1e-11 * expected.norm(), "solution", n, sides, threads);
        check(near(norm, (B.array() * expected.array()).sum(), 1e-10 * std::abs(norm)), "⟨B, A⁻¹B⟩",
              n, sides);
        if (threads == 1) first = X;
        check(X == first, "the same bits on any threads", n, sides, threads);
      }
    }
}

void what_cannot_be_factorised_is_told_with_its_condition() {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const Index n : sizes)
    for (const Index at : {Index(0), n / 2, n - 1}) {
      Matrix<double> A = positive_definite(n);
      SpdSolver solver(n, 1, 2);
      A(at, at) = -1;
      solver.matrix(n) = A;
      const auto indefinite = solver.factorise(2);
      check(indefinite && *indefinite == infinity, "indefinite", n, at);
      A(at, at) = std::numeric_limits<double>::quiet_NaN();
      solver.matrix(n) = A;
      const auto none = solver.factorise(2);
      check(none && std::isnan(*none), "not a number", n, at);
      // The solver is as good as new.
      solver.matrix(n) = positive_definite(n);
      check(!solver.factorise(2), "positive definite after a failure", n);
    }
}

template <class T> void gram_products() {
  for (const Index m : sizes)
    for (const Index k : {1, 30, 256, 300}) {
      const std::vector<T> entries = normal<T>(m * k, 3);
      std::vector<T> a = entries;
      Matrix<T> out(m, m);
      GramProduct<T> product(m);
      product(MatrixMap<T>(a.data(), m, k), T(0.5), MatrixMap<T>(out.data(), m, m), 2);
      const Matrix<double> A =
          Eigen::Map<const Matrix<T>>(entries.data(), m, k).template cast<double>();
      const Matrix<double> expected = 0.5 * A * A.transpose();
      const double tolerance = static_cast<double>(std::numeric_limits<T>::epsilon()) *
                               static_cast<double>(k) * expected.diagonal().maxCoeff();
      check((out.template cast<double>() - expected).cwiseAbs().maxCoeff() <= tolerance, "A Aᵀ", m,
            k);
      check(out == out.transpose(), "both triangles", m, k);
    }
}

void products_with_a_symmetric_matrix() {
  for (const Index n : sizes) {
    Matrix<double> H = positive_definite(n), X = drawn(n, 100, 4), Y(n, 100);
    SymmetricProduct product(n, 100, 2);
    product.pack(MatrixMap<double>(H.data(), n, n), 2);
    parallel_blocks(100, SymmetricProduct::block, 2, [&](Index first, Index last, int thread) {
      product(first, last, X.data(), Y.data(), thread);
    });
    check((Y - H * X).norm() <= 1e-12 * Y.norm(), "H X", n);
  }
}

void the_largest_eigenvalue_is_bounded_from_above() {
  for (const Index n : sizes) {
    Matrix<double> H = positive_definite(n);
    std::vector<double> scratch(static_cast<std::size_t>(2 * n));
    const double exact = Eigen::SelfAdjointEigenSolver<Matrix<double>>(H).eigenvalues().maxCoeff();
    const double found = largest_eigenvalue(MatrixMap<double>(H.data(), n, n), scratch.data(), 2);
    check(0.98 * exact <= found && found <= 1.03 * exact, "λ_max", n, found, exact);
  }
}

}  // namespace
}  // namespace amcore

int main() {
  using namespace amcore;
  return test::run({
      {"systems are solved", systems_are_solved},
      {"what cannot be factorised is told with its condition",
       what_cannot_be_factorised_is_told_with_its_condition},
      {"Gram products, float32", gram_products<float>},
      {"Gram products, float64", gram_products<double>},
      {"products with a symmetric matrix", products_with_a_symmetric_matrix},
      {"the largest eigenvalue is bounded from above",
       the_largest_eigenvalue_is_bounded_from_above},
  });
}
