// The functions of an activation's operator in loops over entries: of one entry they are inlined
// there, of arrays they are evaluated ahead, piece by piece.
#pragma once

#include <algorithm>

#include "amcore/scalar/side.hpp"
#include "amcore/types.hpp"

namespace amcore {

template <class Op, class T>
concept OfArrays = requires(const Op& op, Index n, const T* u, T* out) { op.value(n, u, out); };

template <class Op, class T> struct Entries {
  static constexpr Index piece = 256;

  // body(first, count): all entries at once unless functions are evaluated ahead.
  template <class Body> static void for_each_piece(Index n, Body&& body) {
    const Index most = OfArrays<Op, T> ? piece : n;
    for (Index first = 0; first < n; first += most) body(first, std::min(most, n - first));
  }

  // Functions of i < count ≤ piece; `ahead` has room for a piece.
  auto value(Index count, const T* u, T* ahead) const {
    if constexpr (OfArrays<Op, T>) {
      op.value(count, u, ahead);
      return [ahead](Index i) { return ahead[i]; };
    } else {
      return [this, u](Index i) { return op.value(u[i]); };
    }
  }
  auto difference(Index count, const T* a, const T* b, T* ahead) const {
    if constexpr (OfArrays<Op, T>) {
      op.difference(count, a, b, ahead);
      return [ahead](Index i) { return ahead[i]; };
    } else {
      return [this, a, b](Index i) { return op.difference(a[i], b[i]); };
    }
  }
  template <Side side> auto derivative(Index count, const T* u, T* ahead) const {
    if constexpr (OfArrays<Op, T>) {
      op.derivative(count, u, side, ahead);
      return [ahead](Index i) { return ahead[i]; };
    } else if constexpr (side == Side::left) {
      return [this, u](Index i) { return op.left_derivative(u[i]); };
    } else {
      return [this, u](Index i) { return op.right_derivative(u[i]); };
    }
  }

  const Op& op;
};

}  // namespace amcore
