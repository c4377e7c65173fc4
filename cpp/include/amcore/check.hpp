// Checks of contiguous arrays.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "amcore/types.hpp"

namespace amcore {

template <class T> bool all_finite(Index n, const T* x) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr Bits exponent = sizeof(T) == 4 ? Bits(0x7f800000u) : Bits(0x7ff0000000000000u);
  Bits bad = 0;
  for (Index i = 0; i < n; ++i)
    bad |= static_cast<Bits>((std::bit_cast<Bits>(x[i]) & exponent) == exponent);
  return bad == 0;
}

}  // namespace amcore
