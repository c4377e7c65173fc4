// Products over a tile of samples, the flops of every scheme:
//   multiply    Y ← D ± A X      A: m × k, packed once per pass;  X: k × t tile
//   cross       S  += R Vᵀ       the sum over the tile's samples of r vᵀ
//   gram        G  += V Vᵀ       its symmetric case, lower triangle only
//
// Both operands are copied ("packed") into panels that the register kernel reads front to back:
// row panels of `rows` entries for the left, column panels of `columns` entries for the right. Rows
// of float32 at the end that fill no more than half of a vector are in it twice, a₀ a₀ a₁ a₁ …, and
// meet two columns at a time.
// Of a right operand that may be sparse, as images are, panels leave out rows that are zero.
// Nothing here allocates; the caller owns the panels.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "amcore/types.hpp"

#ifndef AMCORE_VECTOR_BYTES
#define AMCORE_VECTOR_BYTES 16
#endif

namespace amcore {

template <class T> struct Kernel {
  typedef T Vector __attribute__((vector_size(AMCORE_VECTOR_BYTES)));
  static constexpr int width = AMCORE_VECTOR_BYTES / static_cast<int>(sizeof(T));
  static constexpr int rows = 2 * width;  // of a left panel
  static constexpr int columns =
      AMCORE_VECTOR_BYTES == 64 ? 12 : 6;         // of a right panel; fills the registers
  static constexpr bool halves = sizeof(T) == 4;  // a pair of entries is read as one of 64 bits
};

inline Index round_up(Index n, Index multiple) { return (n + multiple - 1) / multiple * multiple; }

template <class T> Index left_panels_size(Index m, Index k) {
  return round_up(m, Kernel<T>::rows) * k;
}
template <class T> Index right_panels_size(Index k, Index n) {
  return k * round_up(n, Kernel<T>::columns);
}

// The rest of a left panel's column of which m ≤ rows entries are there.
template <class T> void complete_column(Index m, T* column) {
  constexpr Index width = Kernel<T>::width;
  const Index last = m % width;
  std::fill(column + m, column + Kernel<T>::rows, T(0));
  if (!Kernel<T>::halves || 2 * last > width) return;
  T* const half = column + m - last;
  for (Index i = last; i-- > 0;) half[2 * i] = half[2 * i + 1] = half[i];
}

// panels ← A (m × k), entry (i, p) at a[i * row_stride + p * column_stride], zero rows at the end.
// The panels are `depth` ≥ k long, as in what follows.
template <class T, class Source> void pack_left(Index m, Index k, const Source* a, Index row_stride,
                                                Index column_stride, T* panels, Index depth) {
  constexpr Index R = Kernel<T>::rows;
  for (Index i0 = 0; i0 < m; i0 += R, panels += R * depth) {
    const Index valid = std::min(R, m - i0);
    for (Index p = 0; p < k; ++p) {
      const Source* from = a + i0 * row_stride + p * column_stride;
      T* to = panels + p * R;
      if (row_stride == 1 && valid == R) {
        for (Index i = 0; i < R; ++i) to[i] = static_cast<T>(from[i]);
      } else {
        for (Index i = 0; i < valid; ++i) to[i] = static_cast<T>(from[i * row_stride]);
        complete_column(valid, to);
      }
    }
  }
}

template <class T, class Source> void pack_left(Index m, Index k, const Source* a, Index row_stride,
                                                Index column_stride, T* panels) {
  pack_left(m, k, a, row_stride, column_stride, panels, k);
}

namespace detail {

// A small square block of the transposed order: to[p * C + j] ← from[p + j * stride], in registers.
template <class T> struct SquareBlock {
  typedef T Vector __attribute__((vector_size(16)));
  static constexpr Index size = 16 / static_cast<Index>(sizeof(T));

  static void transpose(const T* from, Index stride, T* to, Index to_stride) {
#if __has_builtin(__builtin_shufflevector)
    Vector column[size];
    for (Index j = 0; j < size; ++j) std::memcpy(&column[j], from + j * stride, sizeof(Vector));
    const auto store = [&](Index p, Vector row) {
      std::memcpy(to + p * to_stride, &row, sizeof(Vector));
    };
    if constexpr (size == 2) {
      store(0, __builtin_shufflevector(column[0], column[1], 0, 2));
      store(1, __builtin_shufflevector(column[0], column[1], 1, 3));
    } else {
      const Vector a = __builtin_shufflevector(column[0], column[1], 0, 4, 1, 5);
      const Vector b = __builtin_shufflevector(column[2], column[3], 0, 4, 1, 5);
      const Vector c = __builtin_shufflevector(column[0], column[1], 2, 6, 3, 7);
      const Vector d = __builtin_shufflevector(column[2], column[3], 2, 6, 3, 7);
      store(0, __builtin_shufflevector(a, b, 0, 1, 4, 5));
      store(1, __builtin_shufflevector(a, b, 2, 3, 6, 7));
      store(2, __builtin_shufflevector(c, d, 0, 1, 4, 5));
      store(3, __builtin_shufflevector(c, d, 2, 3, 6, 7));
    }
#else
    for (Index p = 0; p < size; ++p)
      for (Index j = 0; j < size; ++j) to[p * to_stride + j] = from[p + j * stride];
#endif
  }
};

}  // namespace detail

// panels ← X (k × n), a column every ld entries, zero columns at the end.
template <class T> void pack_right(Index k, Index n, const T* x, Index ld, T* panels, Index depth) {
  constexpr Index C = Kernel<T>::columns, S = detail::SquareBlock<T>::size;
  for (Index j0 = 0; j0 < n; j0 += C, panels += C * depth) {
    const Index valid = std::min(C, n - j0);
    const T* from = x + j0 * ld;
    if (valid == C) {
      // Six columns of a block of four leave two.
      constexpr Index blocks = C / S * S;
      Index p = 0;
      for (; p + S <= k; p += S) {
        for (Index j = 0; j < blocks; j += S)
          detail::SquareBlock<T>::transpose(from + p + j * ld, ld, panels + p * C + j, C);
        for (Index j = blocks; j < C; ++j)
          for (Index q = p; q < p + S; ++q) panels[q * C + j] = from[q + j * ld];
      }
      for (; p < k; ++p)
        for (Index j = 0; j < C; ++j) panels[p * C + j] = from[p + j * ld];
    } else {
      for (Index p = 0; p < k; ++p)
        for (Index j = 0; j < C; ++j) panels[p * C + j] = j < valid ? from[p + j * ld] : T(0);
    }
  }
}
template <class T> void pack_right(Index k, Index n, const T* x, T* panels) {
  pack_right(k, n, x, k, panels, k);
}

// The same of Xᵀ: entry (p, j) at x[j + p * ld].
template <class T>
void pack_right_transposed(Index k, Index n, const T* x, Index ld, T* panels, Index depth) {
  constexpr Index C = Kernel<T>::columns;
  for (Index j = 0; j < n; j += C, panels += C * depth) {
    const Index valid = std::min(C, n - j);
    if (valid == C) {
      for (Index p = 0; p < k; ++p) std::copy_n(x + p * ld + j, C, panels + p * C);
    } else {
      std::fill_n(panels, C * k, T(0));
      for (Index p = 0; p < k; ++p) std::copy_n(x + p * ld + j, valid, panels + p * C);
    }
  }
}

// Right panels without their zero rows: panel q, which is at entries[q * depth * columns], consists
// of the rows rows[q * depth + p], p < counts[q]. Where that is all of them, they are not listed.
template <class T> struct SparsePanels {
  T* entries;
  std::int32_t *rows, *counts;

  static Index rows_size(Index k, Index n) { return k * counts_size(n); }
  static Index counts_size(Index n) { return round_up(n, Kernel<T>::columns) / Kernel<T>::columns; }
};

// X (k × n) as pack_right. Whether a panel is worth the search is seen by its first column.
template <class T>
void pack_right_sparse(Index k, Index n, const T* x, const SparsePanels<T>& panels) {
  constexpr Index C = Kernel<T>::columns;
  for (Index j0 = 0, q = 0; j0 < n; j0 += C, ++q) {
    const Index valid = std::min(C, n - j0);
    const T* const from = x + j0 * k;
    T* to = panels.entries + j0 * k;
    std::int32_t* const rows = panels.rows + q * k;
    std::int32_t& count = panels.counts[q];
    Index zeros = 0;
    for (Index p = 0; p < k; ++p) zeros += from[p] == 0;
    count = static_cast<std::int32_t>(k);
    if (4 * zeros >= k) {
      count = 0;
      std::fill_n(rows, k, 0);
      for (Index j = 0; j < valid; ++j)
        for (Index p = 0; p < k; ++p) rows[p] |= from[p + j * k] != 0;
      for (Index p = 0; p < k; ++p) {
        const std::int32_t any = rows[p];
        rows[count] = static_cast<std::int32_t>(p);
        count += any;
      }
    }
    if (4 * count > 3 * k) {
      pack_right(k, valid, from, k, to, k);
      count = static_cast<std::int32_t>(k);
      continue;
    }
    for (Index p = 0; p < count; ++p, to += C)
      for (Index j = 0; j < C; ++j) to[j] = j < valid ? from[rows[p] + j * k] : T(0);
  }
}

enum class Update { assign, add, subtract };

// Where a product of m rows goes: C ← A X + b1ᵀ, or C ← D ± (A X + b1ᵀ). All matrices are
// column-major, C and D with leading dimension ld.
template <class T> struct Destination {
  T* c;
  Index ld;
  Update update = Update::assign;
  const T* from = nullptr;  // D; null: C
  const T* bias = nullptr;  // b; null: 0

  Destination block(Index i, Index j) const {
    return {c + i + j * ld, ld, update, (from ? from : c) + i + j * ld, bias ? bias + i : nullptr};
  }
};

namespace detail {

// What the product of a register block asks the caches for, in parts: the columns of C and D that
// the next block is for, and lines of the left panels that come after those at work.
template <class T> struct Ahead {
  static constexpr int parts = Kernel<T>::columns;
  static constexpr Index line = 64 / static_cast<Index>(sizeof(T));  // of a cache

  const T *c, *from;
  Index ld;
  const T* left;
  Index lines;  // in each part

  // Always inlined: GCC takes a function that only prefetches for one without effect.
  [[gnu::always_inline]] void ask(int part) const {
    ask_column(c + part * ld);
    if (from != c) ask_column(from + part * ld);
    for (Index l = part * lines; l < (part + 1) * lines; ++l)
      __builtin_prefetch(left + l * line, 0, 2);
  }

 private:
  // Columns start anywhere in a line.
  [[gnu::always_inline]] static void ask_column(const T* x) {
    for (Index i = 0; i < Kernel<T>::rows; i += line) __builtin_prefetch(x + i);
    __builtin_prefetch(x + Kernel<T>::rows - 1);
  }
};

// To a whole block. `sum` stays in registers: nothing but constants may index it.
template <Update update, int Vectors, class Vector, class T>
inline void store(const Vector (&sum)[Kernel<T>::columns][Vectors], const Destination<T>& to) {
  constexpr int width = Kernel<T>::width;
  Vector bias[Vectors] = {};
  if (to.bias) std::memcpy(bias, to.bias, sizeof(bias));
  T* c = to.c;
  const T* from = to.from;
  const Index ld = to.ld;
#pragma GCC unroll 16
  for (int j = 0; j < Kernel<T>::columns; ++j, c += ld, from += ld) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      Vector value = sum[j][v] + bias[v], old;
      if constexpr (update != Update::assign) {
        std::memcpy(&old, from + v * width, sizeof(Vector));
        value = update == Update::add ? old + value : old - value;
      }
      std::memcpy(c + v * width, &value, sizeof(Vector));
    }
  }
}

// x₀ x₁ x₀ x₁ …
template <class T> typename Kernel<T>::Vector repeat_pair(const T* x) {
  static_assert(Kernel<T>::halves);
  typedef std::uint64_t Pairs __attribute__((vector_size(AMCORE_VECTOR_BYTES)));
  std::uint64_t pair;
  std::memcpy(&pair, x, sizeof(pair));
  return std::bit_cast<typename Kernel<T>::Vector>(Pairs{} + pair);
}

// The sums of a register block: of its columns, and of its pairs of columns where its last rows
// are half a vector. They stay in registers: nothing but constants may index them.
template <int Vectors, bool half, class T> struct BlockSums {
  using K = Kernel<T>;
  using Vector = typename K::Vector;
  Vector column[K::columns][std::max(Vectors, 1)] = {}, pair[K::columns / 2] = {};

  void add(const T* __restrict left, const T* __restrict right) {
    Vector a[Vectors + 1];
#pragma GCC unroll 3
    for (int v = 0; v < Vectors + half; ++v)
      std::memcpy(&a[v], left + v * K::width, sizeof(Vector));
#pragma GCC unroll 16
    for (int q = 0; q < K::columns; ++q) {
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) column[q][v] += a[v] * right[q];
      if constexpr (half)
        if (q % 2 == 0) pair[q / 2] += a[Vectors] * repeat_pair(right + q);
    }
  }

  // To m × n entries of a block.
  void store_part(const Destination<T>& to, Index m, Index n) const {
    T block[K::columns][2 * K::width];
#pragma GCC unroll 16
    for (int j = 0; j < K::columns; ++j)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v)
        std::memcpy(block[j] + v * K::width, &column[j][v], sizeof(Vector));
    if constexpr (half) {
#pragma GCC unroll 8
      for (int j = 0; j < K::columns; j += 2)
#pragma GCC unroll 16
        for (int i = 0; i < K::width; ++i)
          block[j + i % 2][Vectors * K::width + i / 2] = pair[j / 2][i];
    }
    for (Index j = 0; j < n; ++j) {
      T* const c = to.c + j * to.ld;
      const T *const from = to.from + j * to.ld, *const product = block[j];
      for (Index i = 0; i < m; ++i) {
        const T value = product[i] + (to.bias ? to.bias[i] : T(0));
        if (to.update == Update::assign)
          c[i] = value;
        else
          c[i] = to.update == Update::add ? from[i] + value : from[i] - value;
      }
    }
  }
};

// One register block of m × n entries, over k rows of a right panel, which meet the rows row(p) of
// the left one. m: of `Vectors` vectors, and half a vector where so. Not inlined: among a caller's
// variables GCC 12 found no register for the last of the sums where there are 16.
template <int Vectors, bool half, class T, class Row>
[[gnu::noinline]] void block_product(Index k, const T* __restrict left, const T* __restrict right,
                                     Row row, const Destination<T>& to, Index m, Index n,
                                     const Ahead<T>& ahead) {
  using K = Kernel<T>;
  BlockSums<Vectors, half, T> sums;
  // Two rows at a time: counters and the jump cost where another thread shares the core's decoder.
  Index p = 0;
  for (int part = 0; part < ahead.parts; ++part) {
    ahead.ask(part);
#pragma GCC unroll 2
    for (const Index end = k * (part + 1) / ahead.parts; p < end; ++p, right += K::columns)
      sums.add(left + row(p) * K::rows, right);
  }
  if constexpr (!half && Vectors > 0) {
    if (m == Vectors * K::width && n == K::columns) {
      if (to.update == Update::assign) return store<Update::assign>(sums.column, to);
      if (to.update == Update::add) return store<Update::add>(sums.column, to);
      return store<Update::subtract>(sums.column, to);
    }
  }
  sums.store_part(to, m, n);
}

template <class T, class Row> void block_product(Index k, const T* left, const T* right, Row row,
                                                 const Destination<T>& to, Index m, Index n,
                                                 const Ahead<T>& ahead) {
  constexpr Index width = Kernel<T>::width;
  if constexpr (Kernel<T>::halves) {
    if (width < m && 2 * m <= 3 * width)
      return block_product<1, true>(k, left, right, row, to, m, n, ahead);
    if (2 * m <= width) return block_product<0, true>(k, left, right, row, to, m, n, ahead);
  }
  if (m > width)
    block_product<2, false>(k, left, right, row, to, m, n, ahead);
  else
    block_product<1, false>(k, left, right, row, to, m, n, ahead);
}

// Entry i of the first row of its panel.
template <class T> const T* in_left_panels(const T* left, Index depth, Index i) {
  const Index within = i % Kernel<T>::rows;
  return left + (i - within) * depth + within;
}

// C, register block by register block. panel(j, sum): of the right panel of column j, sum(number of
// its rows, its entries, which rows of the left panels they meet).
template <class T, class Panel> void multiply_blocks(Index m, Index n, Index k, const T* left,
                                                     Index left_depth, const Destination<T>& to,
                                                     bool lower, Panel&& panel) {
  using K = Kernel<T>;
  // CPUs with longer vectors have larger caches.
  constexpr Index column = K::rows * static_cast<Index>(sizeof(T)),
                  some_cache = AMCORE_VECTOR_BYTES * 3 << 10;
  const Index group = std::max<Index>(1, some_cache / (std::max<Index>(1, k) * column)) * K::rows;
  for (Index first = 0; first < m; first += group) {
    const Index end = std::min(m, first + group), last = lower ? std::min(n, end) : n;
    // The panels of the next group, in as many pieces as there are parts of this one's blocks.
    const Index next_group = round_up(std::min(m, end + group) - end, K::rows) * left_depth;
    const Index pieces =
        std::max<Index>(1, round_up(end - first, K::rows) / K::rows * round_up(last, K::columns));
    const Index lines = (next_group / Ahead<T>::line + pieces - 1) / pieces;
    const T* ahead = left + end * left_depth;
    const auto top = [=](Index j) {
      return lower ? std::max(first, j / K::width * K::width) : first;
    };
    for (Index j = 0; j < last; j += K::columns) {
      panel(j, [&](Index count, const T* right, auto row) {
        Index rows;
        for (Index i = top(j); i < end; i += rows) {
          // The upper half of a panel may be above the diagonal.
          rows = std::min<Index>(K::rows - i % K::rows, m - i);
          const bool below = i + rows < end;
          const Destination<T> next =
              to.block(below ? i + rows : top(j + K::columns), below ? j : j + K::columns);
          block_product(count, in_left_panels(left, left_depth, i), right, row, to.block(i, j),
                        rows, std::min<Index>(K::columns, n - j),
                        Ahead<T>{next.c, next.from, next.ld, ahead, lines});
          ahead += lines * Ahead<T>::parts * Ahead<T>::line;
        }
      });
    }
  }
}

}  // namespace detail

// A X from packed panels, A: m × k, X: k × n. With `lower`, blocks strictly above the diagonal of
// C are left out.
//
// A right panel meets a group of left panels, so small that the second cache also holds the next
// one, asked for meanwhile: panels of a whole layer come from the third, and all at once they come
// slower than they are used. The sums over k are not cut: to read and write C again costs more than
// longer panels.
template <class T> void multiply(Index m, Index n, Index k, const T* left, Index left_depth,
                                 const T* right, Index right_depth, const Destination<T>& to,
                                 bool lower = false) {
  detail::multiply_blocks(m, n, k, left, left_depth, to, lower, [=](Index j, auto&& sum) {
    sum(k, right + j * right_depth, [](Index p) { return p; });
  });
}

template <class T> void multiply(Index m, Index n, Index k, const T* left, const T* right,
                                 const Destination<T>& to, bool lower = false) {
  multiply(m, n, k, left, k, right, k, to, lower);
}

template <class T> void multiply(Index m, Index n, Index k, const T* left,
                                 const SparsePanels<T>& right, const Destination<T>& to,
                                 bool lower = false) {
  detail::multiply_blocks(m, n, k, left, k, to, lower, [=](Index j, auto&& sum) {
    const T* const panel = right.entries + j * k;
    const Index q = j / Kernel<T>::columns, count = right.counts[q];
    if (count == k)
      sum(k, panel, [](Index p) { return p; });
    else
      sum(count, panel, [at = right.rows + q * k](Index p) { return Index{at[p]}; });
  });
}

}  // namespace amcore
