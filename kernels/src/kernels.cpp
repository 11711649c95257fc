// Compiled once per instruction set, with PRUNEMARK_TABLE naming the table to define. All else has internal linkage
// and no standard library is used, so that no function compiled for one processor is linked into another's code.
#include "kernels.h"

#include <cmath>
#include <utility>

#include "cell.h"

namespace prunemark {
namespace {

// Cells that one tile holds in registers: 16 zmm of 32; 6 x 2 ymm of 16; 6 x 4 of NEON's 32; 3 x 4 xmm of SSE's 16.
#if PRUNEMARK_WIDTH == 16
constexpr int TILE = 16;
#elif PRUNEMARK_WIDTH == 8 || defined(__aarch64__)
constexpr int TILE = 6;
#else
constexpr int TILE = 3;
#endif
constexpr int LOG_RUNS = 4;  // a tile is 1, 2, 4 or 8 runs of adjacent columns

constexpr int log2_floor(int n) { return n < 2 ? 0 : 1 + log2_floor(n / 2); }
constexpr int smaller(int a, int b) { return a < b ? a : b; }

// ---- forward and input gradient

template <int RUNS, int COLUMNS, int IN, int OUT>
void convolve_tile(const Convolution& job, const float* input, float* output, long input_run, long output_run) {
  const Pattern& pattern = job.pattern;
  for (int row = 0; row < pattern.rows; row++, output += job.output_channel) {
    Cell sum[RUNS][COLUMNS];
    if (job.accumulate) {
      UNROLL for (int r = 0; r < RUNS; r++) UNROLL for (int x = 0; x < COLUMNS; x++)
        sum[r][x] = load(output + r * output_run + x * OUT * LANES);
    } else {
      const Cell start = all(job.bias ? job.bias[row] : 0);
      UNROLL for (int r = 0; r < RUNS; r++) UNROLL for (int x = 0; x < COLUMNS; x++) sum[r][x] = start;
    }
    const int end = pattern.end[row];
    for (int k = pattern.begin[row]; k < end; k++) {
      const float* cell = input + pattern.offset[k];
      const Cell weight = all(pattern.value[k]);
      UNROLL for (int r = 0; r < RUNS; r++) UNROLL for (int x = 0; x < COLUMNS; x++)
        sum[r][x] = load(cell + r * input_run + x * IN * LANES) * weight + sum[r][x];
    }
    if (job.stream) {
      UNROLL for (int r = 0; r < RUNS; r++) UNROLL for (int x = 0; x < COLUMNS; x++)
        stream(output + r * output_run + x * OUT * LANES, sum[r][x]);
    } else {
      UNROLL for (int r = 0; r < RUNS; r++) UNROLL for (int x = 0; x < COLUMNS; x++)
        store(output + r * output_run + x * OUT * LANES, sum[r][x]);
    }
  }
}

// ---- weight gradient

// Of every 2 SPAN lanes the first half is a's two halves, added, and the second half is b's.
template <int SPAN, int... J>
INLINE Floats halved(const Floats& a, const Floats& b, std::integer_sequence<int, J...>) {
  return __builtin_shufflevector(a, b, (J % (2 * SPAN) < SPAN ? J : WIDTH + J - SPAN)...) +
         __builtin_shufflevector(a, b, (J % (2 * SPAN) < SPAN ? J + SPAN : WIDTH + J)...);
}

template <int SPAN>
INLINE void halve(Floats* v) {
  UNROLL for (int i = 0; i < SPAN; i++) v[i] = halved<SPAN>(v[i], v[i + SPAN], std::make_integer_sequence<int, WIDTH>());
  if constexpr (SPAN > 1) halve<SPAN / 2>(v);
}

// The sums over the lanes of WIDTH vectors: they are halved until one holds a sum in each lane.
INLINE void lane_sums(const float* vectors, float* sums) {
  Floats v[WIDTH];
  UNROLL for (int i = 0; i < WIDTH; i++) v[i] = *(const Floats*)(vectors + i * WIDTH);
  halve<WIDTH / 2>(v);
  __builtin_memcpy(sums, &v[0], sizeof v[0]);
}

template <int RUNS, int COLUMNS, int IN>
void weight_gradient_tile(const WeightGradient& job, const float* input, const float* gradient, long input_run,
                          long gradient_run, bool first, bool last) {
  constexpr int VECTORS = RUNS * COLUMNS * PARTS, CHAINS = VECTORS >= 8 ? 4 : VECTORS >= 2 ? 2 : 1;
  const Pattern& pattern = job.pattern;
  for (int row = 0; row < pattern.rows; row++, gradient += job.gradient_channel) {
    const int begin = pattern.begin[row], end = pattern.end[row];
    if (begin == end) continue;
    Cell g[RUNS][COLUMNS];
    UNROLL for (int r = 0; r < RUNS; r++) UNROLL for (int x = 0; x < COLUMNS; x++)
      g[r][x] = load(gradient + r * gradient_run + x * LANES);
    // A vector of sums for each weight. A single tile needs no memory of the tiles before it; its row's sums stay in the
    // first cache.
    float* sums = job.scratch + (first && last ? 0L : (long)begin * WIDTH);
    float* const row_sums = sums;
    for (int k = begin; k < end; k++, sums += WIDTH) {
      const float* cell = input + pattern.offset[k];
      Floats chain[CHAINS];
      UNROLL for (int i = 0; i < CHAINS; i++) chain[i] = Floats{};
      if (!first) chain[0] = *(const Floats*)sums;
      UNROLL for (int r = 0; r < RUNS; r++) UNROLL for (int x = 0; x < COLUMNS; x++) {
        const Cell v = load(cell + r * input_run + x * IN * LANES);
        UNROLL for (int i = 0; i < PARTS; i++) {
          Floats& sum = chain[((r * COLUMNS + x) * PARTS + i) % CHAINS];
          sum = v.part[i] * g[r][x].part[i] + sum;
        }
      }
      UNROLL for (int i = 1; i < CHAINS; i++) chain[0] += chain[i];
      *(Floats*)sums = chain[0];
    }
    if (!last) continue;
    int k = begin;
    for (; k + WIDTH <= end; k += WIDTH) lane_sums(row_sums + (long)(k - begin) * WIDTH, job.result + k);
    for (; k < end; k++) {
      float sum = 0;
      for (int i = 0; i < WIDTH; i++) sum += row_sums[(long)(k - begin) * WIDTH + i];
      job.result[k] = sum;
    }
  }
}

// ---- tiles of all shapes

using ConvolveTile = void (*)(const Convolution&, const float*, float*, long, long);
using GradientTile = void (*)(const WeightGradient&, const float*, const float*, long, long, bool, bool);

template <int IN, int OUT>
struct Tiles {
  template <int RUNS, int COLUMNS>
  static constexpr ConvolveTile convolve() {
    if constexpr (RUNS * COLUMNS <= TILE)
      return convolve_tile<RUNS, COLUMNS, IN, OUT>;
    else
      return nullptr;
  }
  template <int RUNS, int COLUMNS>
  static constexpr GradientTile gradient() {
    if constexpr (RUNS * COLUMNS <= TILE && OUT == 1)
      return weight_gradient_tile<RUNS, COLUMNS, IN>;
    else
      return nullptr;
  }
  ConvolveTile forward[LOG_RUNS][TILE];
  GradientTile backward[LOG_RUNS][TILE];

  template <int... C>
  static constexpr Tiles make(std::integer_sequence<int, C...>) {
    return {{{convolve<1, C + 1>()...}, {convolve<2, C + 1>()...}, {convolve<4, C + 1>()...}, {convolve<8, C + 1>()...}},
            {{gradient<1, C + 1>()...}, {gradient<2, C + 1>()...}, {gradient<4, C + 1>()...}, {gradient<8, C + 1>()...}}};
  }
};

template <int IN, int OUT>
constexpr Tiles<IN, OUT> TILES = Tiles<IN, OUT>::make(std::make_integer_sequence<int, TILE>());

// Cover blocks x height x width positions with tiles. A tile's runs are successive rows of a block or, where images are
// low, the same row of successive blocks. f(log runs, columns, block, y, x, along rows).
template <class F>
INLINE void cover(int blocks, int height, int width, F f) {
  const int pieces = (width + TILE - 1) / TILE, narrow = width / pieces, wider = width % pieces;
  const int most = smaller(log2_floor(TILE / (wider ? narrow + 1 : narrow)), LOG_RUNS - 1);
  const bool rows = height >= smaller(1 << most, blocks);
  const int outer = rows ? blocks : height, inner = rows ? height : blocks;
  for (int i = 0; i < outer; i++)
    for (int j = 0, runs; j < inner; j += 1 << runs) {
      runs = smaller(most, log2_floor(inner - j));
      for (int piece = 0, x = 0; piece < pieces; piece++) {
        const int columns = narrow + (piece < wider);
        f(runs, columns, rows ? i : j, rows ? j : i, x, rows);
        x += columns;
      }
    }
}

template <int IN, int OUT>
void convolve_steps(const Convolution& job) {
  cover(job.blocks, job.height, job.width, [&](int runs, int columns, int b, int y, int x, bool rows) {
    TILES<IN, OUT>.forward[runs][columns - 1](
        job, job.input + b * job.input_block + y * job.input_row + (long)x * IN * LANES,
        job.output + b * job.output_block + y * job.output_row + (long)x * OUT * LANES,
        rows ? job.input_row : job.input_block, rows ? job.output_row : job.output_block);
  });
}

void convolve(const Convolution& job) {
  if (job.width <= 0 || job.height <= 0) return;
  if (job.input_step == 2)
    convolve_steps<2, 1>(job);
  else if (job.output_step == 2)
    convolve_steps<1, 2>(job);
  else
    convolve_steps<1, 1>(job);
}

template <int IN>
void weight_gradient_steps(const WeightGradient& job) {
  long tiles = 0, done = 0;
  cover(job.blocks, job.height, job.width, [&](int, int, int, int, int, bool) { tiles++; });
  cover(job.blocks, job.height, job.width, [&](int runs, int columns, int b, int y, int x, bool rows) {
    done++;
    TILES<IN, 1>.backward[runs][columns - 1](
        job, job.input + b * job.input_block + y * job.input_row + (long)x * IN * LANES,
        job.gradient + b * job.gradient_block + y * job.gradient_row + (long)x * LANES,
        rows ? job.input_row : job.input_block, rows ? job.gradient_row : job.gradient_block, done == 1, done == tiles);
  });
}

void weight_gradient(const WeightGradient& job) {
  if (job.input_step == 2)
    weight_gradient_steps<2>(job);
  else
    weight_gradient_steps<1>(job);
}

// ---- element by element

// The blocks of a 1 x 1 image lie side by side: they are handled as one row.
INLINE View as_rows(View v) {
  if (v.height == 1 && v.width == 1 && v.block == LANES) {
    v.width = v.blocks;
    v.blocks = 1;
  }
  return v;
}

// f(block, y, channel) for every row of an image.
template <class F>
INLINE void each_row(const View& v, F f) {
  for (int b = 0; b < v.blocks; b++)
    for (int y = 0; y < v.height; y++)
      for (int c = 0; c < v.channels; c++) f(b, y, c);
}

// Per-channel sums of two quantities: a row's in float32, some rows' in float32, and those in double. Sums of few terms
// each: adding a number to a long sum rounds it away. f(b, y, c, first, second) adds the cells of a row.
template <class F>
INLINE void channel_moments(const View& v, double* sums, double* others, float* scratch, F f) {
  constexpr int PATIENCE = 256;  // cells in one float32 sum
  for (int c = 0; c < v.channels; c++) sums[c] = others[c] = 0;
  for (long i = 0; i < 2L * v.channels; i++) store(scratch + i * LANES, all(0));
  for (int b = 0, waiting = 0; b < v.blocks; b++) {
    for (int y = 0; y < v.height; y++)
      for (int c = 0; c < v.channels; c++) {
        float* place = scratch + 2L * c * LANES;
        Cell first = all(0), second = all(0);
        f(b, y, c, first, second);
        store(place, load(place) + first);
        store(place + LANES, load(place + LANES) + second);
      }
    waiting += v.height * v.width;
    if (waiting < PATIENCE && b + 1 < v.blocks) continue;
    waiting = 0;
    for (int c = 0; c < v.channels; c++) {
      float* place = scratch + 2L * c * LANES;
      sums[c] += lane_sum(load(place));
      others[c] += lane_sum(load(place + LANES));
      store(place, all(0));
      store(place + LANES, all(0));
    }
  }
}

void moments(const View& v, int lanes, const float* center, double* sums, double* squares, float* scratch) {
  const Bits valid = first_lanes(lanes);
  channel_moments(v, sums, squares, scratch, [&](int b, int y, int c, Cell& sum, Cell& square) {
    const float* row = v.at(b, y, c);
    const Cell middle = all(center[c]);
    const bool partial = lanes < LANES && b + 1 == v.blocks;
    Cell sum2 = all(0), square2 = all(0);
    int x = 0;
    if (!partial)
      for (; x + 2 <= v.width; x += 2) {
        const Cell d = load(row + x * LANES) - middle, e = load(row + (x + 1) * LANES) - middle;
        sum = sum + d;
        square = d * d + square;
        sum2 = sum2 + e;
        square2 = e * e + square2;
      }
    for (; x < v.width; x++) {
      Cell d = load(row + x * LANES) - middle;
      if (partial) d = where(valid, d);
      sum = sum + d;
      square = d * d + square;
    }
    sum = sum + sum2;
    square = square + square2;
  });
}

template <bool AFFINE, bool RESIDUAL, bool RELU>
void join_as(const View& y, const View& residual, const View& out, const float* scale, const float* shift) {
  each_row(out, [&](int b, int row, int c) {
    const float* from = y.at(b, row, c);
    const float* beside = RESIDUAL ? residual.at(b, row, c) : nullptr;
    float* to = out.at(b, row, c);
    const Cell s = all(AFFINE ? scale[c] : 1), t = all(AFFINE ? shift[c] : 0);
    for (int x = 0; x < out.width; x++) {
      Cell v = load(from + x * LANES);
      if (AFFINE) v = v * s + t;
      if (RESIDUAL) v = v + load(beside + x * LANES);
      if (RELU) v = relu(v);
      store(to + x * LANES, v);
    }
  });
}

void join(const View& y, const View* residual, const View& out, const float* scale, const float* shift, bool relu) {
  const View rows = as_rows(y), result = as_rows(out), beside = residual ? as_rows(*residual) : rows;
  switch (4 * (scale != nullptr) + 2 * (residual != nullptr) + relu) {
    case 0: return join_as<false, false, false>(rows, beside, result, scale, shift);
    case 1: return join_as<false, false, true>(rows, beside, result, scale, shift);
    case 2: return join_as<false, true, false>(rows, beside, result, scale, shift);
    case 3: return join_as<false, true, true>(rows, beside, result, scale, shift);
    case 4: return join_as<true, false, false>(rows, beside, result, scale, shift);
    case 5: return join_as<true, false, true>(rows, beside, result, scale, shift);
    case 6: return join_as<true, true, false>(rows, beside, result, scale, shift);
    default: return join_as<true, true, true>(rows, beside, result, scale, shift);
  }
}

void gate(const View& gradient, const View& out) {
  const View g = as_rows(gradient), a = as_rows(out);
  each_row(g, [&](int b, int y, int c) {
    float* row = g.at(b, y, c);
    const float* output = a.at(b, y, c);
    for (int x = 0; x < g.width; x++)
      store(row + x * LANES, where(positive(load(output + x * LANES)), load(row + x * LANES)));
  });
}

template <Gate GATE>
void gradient_moments_as(const View& gradient, const View& y, const View* out, const float* center, const float* scale,
                         const float* shift, double* sums, double* products, float* scratch) {
  channel_moments(gradient, sums, products, scratch, [&](int b, int row, int c, Cell& sum, Cell& product) {
    float* g_row = gradient.at(b, row, c);
    const float* y_row = y.at(b, row, c);
    const float* out_row = GATE == Gate::output ? out->at(b, row, c) : nullptr;
    const Cell middle = all(center[c]), s = all(scale[c]), t = all(shift[c]);
    for (int x = 0; x < gradient.width; x++) {
      const Cell v = load(y_row + x * LANES);
      Cell g = load(g_row + x * LANES);
      if (GATE == Gate::recomputed) g = where(positive(v * s + t), g);
      if (GATE == Gate::output) {
        g = where(positive(load(out_row + x * LANES)), g);
        store(g_row + x * LANES, g);
      }
      sum = sum + g;
      product = g * (v - middle) + product;
    }
  });
}

void gradient_moments(const View& gradient, const View& y, const View* out, Gate gate, const float* center,
                      const float* scale, const float* shift, double* sums, double* products, float* scratch) {
  const auto run = gate == Gate::none         ? gradient_moments_as<Gate::none>
                   : gate == Gate::recomputed ? gradient_moments_as<Gate::recomputed>
                                              : gradient_moments_as<Gate::output>;
  run(gradient, y, out, center, scale, shift, sums, products, scratch);
}

template <bool RECOMPUTED, bool ACCUMULATE>
void normalise_gradient_as(const View& gradient, const View& y, const View& result, const float* center,
                           const float* scale, const float* shift, const float* across, const float* mean, int lanes) {
  const Bits valid = first_lanes(lanes);
  each_row(gradient, [&](int b, int row, int c) {
    const float* g_row = gradient.at(b, row, c);
    const float* y_row = y.at(b, row, c);
    float* to = result.at(b, row, c);
    const Cell middle = all(center[c]), s = all(scale[c]), t = all(shift[c]), a = all(across[c]), m = all(mean[c]);
    const bool partial = lanes < LANES && b + 1 == gradient.blocks;
    for (int x = 0; x < gradient.width; x++) {
      const Cell v = load(y_row + x * LANES);
      Cell g = load(g_row + x * LANES);
      if (RECOMPUTED) g = where(positive(v * s + t), g);
      // The scale comes last: rounding it then cannot make gradients that sum to 0 sum to something else.
      Cell out = ((g - m) - a * (v - middle)) * s;
      if (partial) out = where(valid, out);
      if (ACCUMULATE) out = out + load(to + x * LANES);
      store(to + x * LANES, out);
    }
  });
}

void normalise_gradient(const View& gradient, const View& y, const View& result, Gate gate, const float* center,
                        const float* scale, const float* shift, const float* across, const float* mean,
                        bool accumulate, int lanes) {
  const bool recomputed = gate == Gate::recomputed;
  const auto run = recomputed ? (accumulate ? normalise_gradient_as<true, true> : normalise_gradient_as<true, false>)
                              : (accumulate ? normalise_gradient_as<false, true> : normalise_gradient_as<false, false>);
  run(gradient, y, result, center, scale, shift, across, mean, lanes);
}

void channel_sums(const View& view, float* sums) {
  const View v = as_rows(view);
  for (int c = 0; c < v.channels; c++) {
    double total = 0;
    for (int b = 0; b < v.blocks; b++) {
      Cell sum = all(0);
      for (int y = 0; y < v.height; y++)
        for (int x = 0; x < v.width; x++) sum = sum + load(v.at(b, y, c) + x * LANES);
      total += lane_sum(sum);
    }
    sums[c] = (float)total;
  }
}

void add(const View& from, const View& into, bool accumulate) {
  each_row(into, [&](int b, int y, int c) {
    const float* source = from.at(b, y, c);
    float* to = into.at(b, y, c);
    for (int x = 0; x < into.width; x++) {
      const Cell v = load(source + x * LANES);
      store(to + x * LANES, accumulate ? load(to + x * LANES) + v : v);
    }
  });
}

// ---- pooling

// f(y, x) for the positions of a window that lie in the image, row by row; returns what averages are divided by.
template <class F>
INLINE int each_position(const View& input, const Window& w, int oy, int ox, F f) {
  const int top = oy * w.stride_y - w.padding_y, left = ox * w.stride_x - w.padding_x;
  const int bottom = smaller(top + w.kernel_y, input.height), right = smaller(left + w.kernel_x, input.width);
  const int first_y = top > 0 ? top : 0, first_x = left > 0 ? left : 0;
  for (int y = first_y; y < bottom; y++)
    for (int x = first_x; x < right; x++) f(y, x);
  if (!w.count_padding) return (bottom - first_y) * (right - first_x);
  return (smaller(top + w.kernel_y, input.height + w.padding_y) - top) *
         (smaller(left + w.kernel_x, input.width + w.padding_x) - left);
}

void pool(const View& input, const View& output, const Window& window, bool maximum) {
  each_row(output, [&](int b, int oy, int c) {
    for (int ox = 0; ox < output.width; ox++) {
      Cell result = all(maximum ? -INFINITY : 0), row_sum = all(0);
      int row = -1;
      const int count = each_position(input, window, oy, ox, [&](int y, int x) {
        const Cell v = load(input.at(b, y, c) + x * LANES);
        if (maximum) {
          result = larger(result, v);
          return;
        }
        if (y != row) {  // rows are summed on their own, so that no sum has many terms
          result = result + row_sum;
          row_sum = all(0);
          row = y;
        }
        row_sum = row_sum + v;
      });
      if (!maximum) result = (result + row_sum) * all(1.0f / count);
      store(output.at(b, oy, c) + ox * LANES, result);
    }
  });
}

void pool_gradient(const View& input, const View& output, const View& output_gradient, const View& input_gradient,
                   const Window& window, bool maximum) {
  each_row(output, [&](int b, int oy, int c) {
    for (int ox = 0; ox < output.width; ox++) {
      Cell g = load(output_gradient.at(b, oy, c) + ox * LANES);
      if (maximum) {
        // The first of equal largest values takes the whole gradient, as in torch: what is taken is gone.
        const Cell largest = load(output.at(b, oy, c) + ox * LANES);
        each_position(input, window, oy, ox, [&](int y, int x) {
          const Cell v = load(input.at(b, y, c) + x * LANES);
          float* to = input_gradient.at(b, y, c) + x * LANES;
          const Cell taken = parts([&](int i) {
            return (Floats)((Ints)g.part[i] & (Ints)(v.part[i] == largest.part[i]));
          });
          g = g - taken;
          store(to, load(to) + taken);
        });
        continue;
      }
      const int count = each_position(input, window, oy, ox, [](int, int) {});
      g = g * all(1.0f / count);
      each_position(input, window, oy, ox, [&](int y, int x) {
        float* to = input_gradient.at(b, y, c) + x * LANES;
        store(to, load(to) + g);
      });
    }
  });
}

// ---- loss and optimiser

double cross_entropy(const View& logits, const View* gradient, const int64_t* targets, int examples, bool* correct) {
  double loss = 0;
  for (int b = 0; b < logits.blocks; b++) {
    const int lanes = smaller(LANES, examples - b * LANES);
    Cell largest = all(-INFINITY), sum = all(0);
    for (int c = 0; c < logits.channels; c++) largest = larger(load(logits.at(b, 0, c)), largest);
    for (int c = 0; c < logits.channels; c++) sum = sum + exponential(load(logits.at(b, 0, c)) - largest);
    alignas(64) float top[LANES], total[LANES];
    store(top, largest);
    store(total, sum);
    for (int lane = 0; lane < lanes; lane++) {
      const int target = (int)targets[b * LANES + lane];
      const float logit = logits.at(b, 0, target)[lane];
      loss += std::log((double)total[lane]) + ((double)top[lane] - logit);
      if (!correct) continue;
      int best = 0;
      while (best + 1 < logits.channels && logits.at(b, 0, best)[lane] != top[lane]) best++;
      correct[b * LANES + lane] = best == target;
    }
    if (!gradient) continue;
    const Bits valid = first_lanes(lanes);
    Cell share = parts([&](int i) { return 1.0f / (sum.part[i] * (float)examples); });
    for (int c = 0; c < logits.channels; c++)
      store(gradient->at(b, 0, c), where(valid, exponential(load(logits.at(b, 0, c)) - largest) * share));
    for (int lane = 0; lane < lanes; lane++)
      gradient->at(b, 0, (int)targets[b * LANES + lane])[lane] -= 1.0f / (float)examples;
  }
  return loss;
}

void update(float* __restrict weight, float* __restrict velocity, const float* __restrict gradient, long count, float lr,
            float momentum, float decay) {
  if (!velocity) {
    for (long i = 0; i < count; i++) weight[i] -= lr * (gradient[i] + decay * weight[i]);
    return;
  }
  for (long i = 0; i < count; i++) {
    velocity[i] = momentum * velocity[i] + (gradient[i] + decay * weight[i]);
    weight[i] -= lr * velocity[i];
  }
}

}  // namespace

const Kernels PRUNEMARK_TABLE = {
    PRUNEMARK_NAME, convolve, weight_gradient, moments, join, gate, gradient_moments, normalise_gradient,
    channel_sums, add, pool, pool_gradient, cross_entropy, update,
};

}  // namespace prunemark
