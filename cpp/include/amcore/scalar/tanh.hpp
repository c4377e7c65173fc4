// tanh, the whole of the smooth bounded activations: sigmoid is a tanh with shifted arguments.
//
// With x = 1 + tanh t and y = 1 − tanh t, both known with full relative accuracy ("gaps"), nothing
// here loses the tails. Loops over blocks of a fixed size vectorise, and make a result independent
// of the place of its entry.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "amcore/types.hpp"

namespace amcore::scalar {

inline constexpr int block_size = 64;
template <class T, int size = block_size> using Block = Eigen::Array<T, size, 1>;

template <class T> using Bits = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

// tanh t = difference/sum, 1 + tanh t = 2x/sum and 1 − tanh t = 2y/sum, each to rounding.
//
// e^{−2|t|} is the smaller of x and y by the larger. With 2|t| = k log 2 + f, |f| ≤ ½ log 2, the
// larger is even + odd and the smaller 2^{−k}(even − odd), where (even + odd)/(even − odd) is the
// diagonal Padé approximant of e^f, of order 3 in float32 and 6 in float64.
template <class T> struct Ratio {
  T x, y, small, large, sum, difference;
  [[gnu::always_inline]] explicit Ratio(T t) {
    using Limits = std::numeric_limits<T>;
    constexpr int fraction = Limits::digits - 1, bias = Limits::max_exponent - 1;
    constexpr T log2_e = T(0x1.71547652b82fep0), round = T(Bits<T>(3) << (fraction - 1));
    constexpr T log_2 = T(0x1.62e4p-1), log_2_rest = T(0x1.7f7d1cf79abcap-20);  // k log_2 is exact
    const T twice = std::min(2 * std::abs(t), bias * log_2);  // where 2^{−k} is 0 already
    const T rounded = twice * log2_e + round, k = rounded - round;
    const T f = (twice - k * log_2) - k * log_2_rest, q = f * f;
    T even, odd;
    if constexpr (sizeof(T) == 4) {
      even = 1 + q * T(1. / 10);
      odd = f * (T(0.5) + q * T(1. / 120));
    } else {
      even = 1 + q * (T(5. / 44) + q * (T(1. / 792) + q * T(1. / 665280)));
      odd = f * (T(0.5) + q * (T(1. / 66) + q * T(1. / 15840)));
    }
    // The lowest bits of `rounded` are those of k.
    const T power = std::bit_cast<T>((Bits<T>(bias) << fraction) -
                                     (std::bit_cast<Bits<T>>(rounded) << fraction));
    large = even + odd;
    small = power * (even - odd);
    const T excess = (1 - power) * even + (1 + power) * odd;
    const bool left = t < 0;
    x = left ? small : large;
    y = left ? large : small;
    sum = large + small;
    difference = std::copysign(excess, t);
  }
};

// x = 1 + tanh t, y = 1 − tanh t and tanh t itself.
template <class T> struct Gaps {
  T x, y, tanh;
  [[gnu::always_inline]] explicit Gaps(T t) {
    const Ratio<T> e(t);
    const T reciprocal = 1 / e.sum;
    x = 2 * e.x * reciprocal;
    y = 2 * e.y * reciprocal;
    tanh = e.difference * reciprocal;
  }
};

// body(offset, count) over blocks; the last one may be short.
template <int size = block_size, class Body> void for_each_block(Index n, Body&& body) {
  for (Index first = 0; first < n; first += size)
    body(first, static_cast<int>(std::min<Index>(size, n - first)));
}

// The next `count` entries of u, and zeros. Copies of a whole block are of a known length.
template <class T, int size = block_size> Block<T, size> block_of(const T* u, int count) {
  Block<T, size> block;
  if (count == size) {
    std::copy_n(u, size, block.data());
  } else {
    std::copy_n(u, count, block.data());
    std::fill(block.data() + count, block.data() + size, T(0));
  }
  return block;
}

// out ← the first `count` entries
template <class T, int size> void write_block(const Block<T, size>& block, int count, T* out) {
  if (count == size)
    std::copy_n(block.data(), size, out);
  else
    std::copy_n(block.data(), count, out);
}

// Whether an entry is not 0; of their bits, as that vectorises.
template <class T, int size> bool any(const Block<T, size>& a) {
  Bits<T> bits = 0;
  for (int i = 0; i < size; ++i) bits |= std::bit_cast<Bits<T>>(a[i]);
  return bits != 0;
}

// out ← f(u), entry by entry
template <class T, class F> void map_blocks(Index n, const T* u, T* out, F&& f) {
  for_each_block(n, [&](Index first, int count) {
    Block<T> t = block_of(u + first, count);
    for (int i = 0; i < block_size; ++i) t[i] = f(t[i]);
    write_block(t, count, out + first);
  });
}
template <class T, class F> void map_blocks(Index n, const T* a, const T* b, T* out, F&& f) {
  for_each_block(n, [&](Index first, int count) {
    Block<T> s = block_of(a + first, count), t = block_of(b + first, count);
    for (int i = 0; i < block_size; ++i) s[i] = f(s[i], t[i]);
    write_block(s, count, out + first);
  });
}
// out ← f(u), f: of a whole block
template <class T, class F> void map_arrays(Index n, const T* u, T* out, F&& f) {
  for_each_block(n, [&](Index first, int count) {
    write_block(f(block_of(u + first, count)), count, out + first);
  });
}
// (a, b) ← f(u), entry by entry
template <class T, class F> void map_blocks_to_pairs(Index n, const T* u, T* a, T* b, F&& f) {
  for_each_block(n, [&](Index first, int count) {
    Block<T> s = block_of(u + first, count), t;
    for (int i = 0; i < block_size; ++i) {
      const auto [left, right] = f(s[i]);
      s[i] = left;
      t[i] = right;
    }
    write_block(s, count, a + first);
    write_block(t, count, b + first);
  });
}

// tanh(inner a) − tanh(inner b), with an error relative to a − b:
// tanh a − tanh b = tanh(a − b)(1 − tanh a tanh b), the last factor being 2(x_a y_b + y_a x_b) over
// both sums.
template <class T> [[gnu::always_inline]] inline T tanh_change(T a, T b, T inner = 1) {
  const Ratio<T> p(inner * a), q(inner * b), step(inner * (a - b));
  return step.difference * (2 * (p.x * q.y + p.y * q.x)) / (step.sum * (p.sum * q.sum));
}

}  // namespace amcore::scalar
