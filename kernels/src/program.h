// A training step as two lists of operations, forward and backward, over tensors and parameters that the program owns.
//
// Python builds the lists once (prunemark.training.engines.sparse); a step then runs without Python.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"

namespace prunemark {

// The table for this processor; or the named one. Throws std::invalid_argument where the processor lacks it.
const Kernels& kernels_for(const std::string& name);
std::vector<std::string> available_kernels();

struct Free {
  void operator()(float* p) const { std::free(p); }
};
using Memory = std::unique_ptr<float, Free>;

// Images (N, C, H, W) anywhere in memory, strides in floats. places (may be null) are the numbers of the batch's images.
struct Images {
  const float* data;
  long example, channel, row, column;
  const int64_t* places;
};

class Program {
 public:
  Program(const std::string& kernels, int examples);

  // -- what a program has

  // Cells of channels x height x width with a border of zeros; for at most `examples` examples.
  int tensor(int channels, int height, int width, int pad);
  // Strides in floats: block, row, channel.
  std::vector<long> strides(int tensor) const;
  int parameter(std::vector<float> values);
  int normalisation(int scale, int shift, std::vector<int> channels, std::vector<float> running_mean,
                    std::vector<float> running_variance, double epsilon, double momentum, long batches);

  // -- operations, in order

  // Channel c of the tensor is the image from (channel, row, column) = origin[3 c ... 3 c + 2] on.
  // An image has input_size numbers.
  void pack(int tensor, std::vector<int> origin, int input_size);

  struct Rows {
    std::vector<int32_t> begin, end, offset;
    std::vector<int32_t> order;  // of the parameter's values; empty: as they are
  };
  // Where a convolution writes: positions (y, x) = (first + step * i, first' + step * j), height x width of them.
  struct Grid {
    int first_y, first_x, height, width, step;
  };
  void convolve(bool backward, int input, int output, int weight, Rows rows, int input_step, Grid grid, int bias,
                std::vector<int> bias_rows, bool accumulate);
  void weight_gradient(int input, int gradient, int weight, Rows rows, int input_step, int bias, std::vector<int> bias_rows);
  void join(int y, int normalisation, int residual, int out, bool relu);
  void normalise_gradient(int normalisation, int gradient, int y, int out, int result, Gate gate, bool accumulate);
  void gate(int gradient, int out);
  void add(int from, int into, bool accumulate);
  void pool(int input, int output, Window window, bool maximum);
  void pool_gradient(int input, int output, int output_gradient, int input_gradient, Window window, bool maximum,
                     bool accumulate);
  void cross_entropy(int logits, int gradient);

  // -- running it

  // The mean loss before the step. Where it is not finite, no parameter is updated.
  double step(const Images& images, const int64_t* targets, int examples, double lr, double momentum, double decay);
  // As step, but leaves gradients in the parameters instead of updating them.
  double gradients(const Images& images, const int64_t* targets, int examples);
  // The mean loss, and which answers are right, with the running statistics.
  double evaluate(const Images& images, const int64_t* targets, int examples, bool* correct);

  struct Parameter {
    std::vector<float> value, gradient, velocity;
  };
  struct Normalisation {
    int scale, shift;
    std::vector<int> channels;
    std::vector<float> running_mean, running_variance;
    double epsilon, momentum;  // a negative momentum averages over all batches
    long batches;
    // Per channel of the tensor, as the kernels want them.
    std::vector<float> mean, slope, offset, across, gradient_mean;
    std::vector<double> rest;       // of the mean, that float32 cannot hold
    std::vector<double> deviation;  // 1 / sqrt(variance + epsilon)
  };
  std::vector<Parameter> parameters;
  std::vector<Normalisation> normalisations;
  // Values of a tensor, [example][channel][row][column], for tests.
  std::vector<float> values(int tensor, int examples) const;
  int input_size = 0, classes = 0;
  const char* kernels() const { return kernels_.name; }
  std::vector<double> profile;  // processor seconds of each operation, forward then backward, while profiling
  bool profiling = false;

 private:
  struct Tensor {
    int channels, height, width, pad;
    long block, row, channel, origin, size;
    float* data;
  };
  using Operation = std::function<void()>;

  float* allocate(long floats);
  float* scratch(long floats);
  View view(int tensor) const;
  void statistics(Normalisation& n, const View& y);
  void run(const std::vector<Operation>& operations, size_t first);
  double forward(const Images& images, const int64_t* targets, int examples, bool training);

  const Kernels& kernels_;
  int most_examples_;
  std::vector<Memory> memory_;
  std::vector<Tensor> tensors_;
  std::vector<Operation> forward_, backward_;
  Memory scratch_;
  long scratch_size_ = 0;
  std::vector<double> sums_, others_;

  // Of the batch that is running.
  Images images_{};
  const int64_t* targets_ = nullptr;
  int examples_ = 0, blocks_ = 0, lanes_ = 0;
  bool training_ = false;
  double loss_ = 0;
  bool* correct_ = nullptr;
};

}  // namespace prunemark
