// The functions that touch activations and weights. Each instruction set has its own table of them.
//
// A *cell* is 16 examples of one channel at one pixel: 64 bytes, one AVX-512 register. A *block* is 16 examples.
// Cells next to each other along x are next to each other in memory, in every tensor.
#pragma once

#include <cstdint>

namespace prunemark {

constexpr int LANES = 16;  // examples in a cell

// The activations of a batch, or their gradient. Strides count floats; `data` is block 0, row 0, channel 0, column 0.
struct View {
  float* data;
  int blocks, channels, height, width;
  long block, row, channel;

  float* at(int b, int y, int c) const { return data + b * block + y * row + c * channel; }
};

// The kept weights of a layer, row by row: row r is entries begin[r] to end[r] of offset and value.
struct Pattern {
  int rows;
  const int32_t* begin;
  const int32_t* end;
  const int32_t* offset;  // of the cell that a weight multiplies, relative to the output's position, in floats
  const float* value;
};

// output[b, y, row, x] (+)= bias[row] + sum over kept weights of value * input[b, y, x, offset].
struct Convolution {
  Pattern pattern;
  const float* bias;  // one number per row, or null
  const float* input;
  float* output;
  int blocks, height, width;       // of the positions that are written
  long input_block, input_row;     // strides in floats; a column is input_step cells
  long output_block, output_row, output_channel;
  int input_step, output_step;     // 1 or 2, at most one of them 2
  bool accumulate;                 // add to what the output holds
  bool stream;                     // the output will not be read before the cache has forgotten it
};

// result[k] = sum over examples and positions of input[k's cell] * gradient[k's row].
struct WeightGradient {
  Pattern pattern;                 // its values are not read
  const float* input;
  const float* gradient;
  float* result;                   // one number per entry of the pattern
  float* scratch;                  // LANES numbers per entry of the pattern
  int blocks, height, width;
  long input_block, input_row;
  long gradient_block, gradient_row, gradient_channel;
  int input_step;
};

// How the gradient of a ReLU is found: there is none, from y * scale + shift > 0, or from the ReLU's output.
enum class Gate { none, recomputed, output };

struct Window {
  int kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x;
  bool count_padding;  // average pooling divides by all positions of the padded image, not of the image
};

struct Kernels {
  const char* name;
  void (*convolve)(const Convolution&);
  void (*weight_gradient)(const WeightGradient&);
  // Sums over examples and positions of v - center and of its square, per channel; `lanes` of the last block count.
  void (*moments)(const View& v, int lanes, const float* center, double* sums, double* squares, float* scratch);
  // out = relu?(y * scale + shift + residual); scale, shift and residual may be null.
  void (*join)(const View& y, const View* residual, const View& out, const float* scale, const float* shift, bool relu);
  // gradient = 0 where out <= 0.
  void (*gate)(const View& gradient, const View& out);
  // Sums of the gated gradient and of its product with y - center, per channel. Gate::output also gates in place.
  void (*gradient_moments)(const View& gradient, const View& y, const View* out, Gate gate, const float* center,
                           const float* scale, const float* shift, double* sums, double* products, float* scratch);
  // result (+)= scale * (gated gradient - mean - across * (y - center)), and 0 in lanes beyond `lanes`.
  void (*normalise_gradient)(const View& gradient, const View& y, const View& result, Gate gate, const float* center,
                             const float* scale, const float* shift, const float* across, const float* mean,
                             bool accumulate, int lanes);
  void (*channel_sums)(const View& v, float* sums);
  // into (+)= from, which has the same shape.
  void (*add)(const View& from, const View& into, bool accumulate);
  void (*pool)(const View& input, const View& output, const Window&, bool maximum);
  // input_gradient += output_gradient, where it came from.
  void (*pool_gradient)(const View& input, const View& output, const View& output_gradient, const View& input_gradient,
                        const Window&, bool maximum);
  // Cross-entropy, summed; gradient = (softmax - one hot) / examples; correct[n] = whether the largest logit is the
  // target's, the first of equal ones. Both may be null.
  double (*cross_entropy)(const View& logits, const View* gradient, const int64_t* targets, int examples, bool* correct);
  // g += decay * w; v = momentum * v + g; w -= lr * v. Without momentum v is null.
  void (*update)(float* weight, float* velocity, const float* gradient, long count, float lr, float momentum, float decay);
};

extern const Kernels PORTABLE;
#ifdef PRUNEMARK_X86
extern const Kernels AVX2;
extern const Kernels AVX512;
#endif

}  // namespace prunemark
