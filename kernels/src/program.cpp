#include "program.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>
#include <new>
#include <numeric>
#include <stdexcept>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace prunemark {
namespace {

constexpr size_t LINE = 64, HUGE_PAGE = 2 << 20;
// Larger outputs are written past the caches: they are gone from them before they are read.
constexpr long STREAM_FLOATS = 1 << 19;

Memory aligned(size_t floats, size_t alignment) {
  const size_t bytes = (floats * sizeof(float) + alignment - 1) / alignment * alignment;
  float* p = static_cast<float*>(std::aligned_alloc(alignment, std::max(bytes, alignment)));
  if (!p) throw std::bad_alloc();
#if defined(__linux__)
  if (alignment == HUGE_PAGE) madvise(p, bytes, MADV_HUGEPAGE);
#endif
  std::memset(p, 0, bytes);
  return Memory(p);
}

std::vector<const Kernels*> tables() {
  std::vector<const Kernels*> out{&PORTABLE};
#ifdef PRUNEMARK_X86
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out.push_back(&AVX2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    out.push_back(&AVX512);
#endif
  return out;
}

}  // namespace

const Kernels& kernels_for(const std::string& name) {
  const auto known = tables();
  if (name.empty()) return *known.back();
  for (const Kernels* table : known)
    if (name == table->name) return *table;
  throw std::invalid_argument("this processor has no " + name);
}

std::vector<std::string> available_kernels() {
  std::vector<std::string> names;
  for (const Kernels* table : tables()) names.emplace_back(table->name);
  return names;
}

Program::Program(const std::string& kernels, int examples) : kernels_(kernels_for(kernels)), most_examples_(examples) {
  if (examples < 1) throw std::invalid_argument("a batch has at least one example");
}

float* Program::allocate(long floats) {
  const bool large = floats * sizeof(float) >= HUGE_PAGE;
  // Large buffers start at different lines, or equal places of all of them would compete for the same cache sets.
  const long shift = large ? long(memory_.size()) * 9 % 61 * LANES : 0;
  memory_.push_back(aligned(floats + shift, large ? HUGE_PAGE : LINE));
  return memory_.back().get() + shift;
}

float* Program::scratch(long floats) {
  if (floats > scratch_size_) {
    scratch_ = aligned(floats, LINE);
    scratch_size_ = floats;
  }
  return scratch_.get();
}

int Program::tensor(int channels, int height, int width, int pad) {
  Tensor t{channels, height, width, pad, 0, 0, 0, 0, 0, nullptr};
  const long blocks = (most_examples_ + LANES - 1) / LANES;
  if (height == 1 && width == 1 && pad == 0) {
    t.block = LANES;
    t.channel = t.row = blocks * LANES;
    t.size = channels * t.channel;
  } else {
    t.channel = (width + 2L * pad) * LANES;
    t.row = std::max(channels, 1) * t.channel;
    t.block = (height + 2L * pad) * t.row;
    t.origin = pad * t.row + pad * LANES;
    t.size = blocks * t.block;
  }
  t.data = allocate(t.size);
  tensors_.push_back(t);
  return int(tensors_.size()) - 1;
}

std::vector<long> Program::strides(int tensor) const {
  const Tensor& t = tensors_.at(tensor);
  return {t.block, t.row, t.channel};
}

View Program::view(int tensor) const {
  const Tensor& t = tensors_[tensor];
  return {t.data + t.origin, blocks_, t.channels, t.height, t.width, t.block, t.row, t.channel};
}

int Program::parameter(std::vector<float> values) {
  Parameter p;
  p.gradient.assign(values.size(), 0);
  p.velocity.assign(values.size(), 0);
  p.value = std::move(values);
  parameters.push_back(std::move(p));
  return int(parameters.size()) - 1;
}

int Program::normalisation(int scale, int shift, std::vector<int> channels, std::vector<float> running_mean,
                           std::vector<float> running_variance, double epsilon, double momentum, long batches) {
  const size_t count = channels.size();
  Normalisation n{scale, shift, std::move(channels), std::move(running_mean), std::move(running_variance),
                  epsilon, momentum, batches, {}, {}, {}, {}, {}, {}, {}};
  for (auto* v : {&n.mean, &n.slope, &n.offset, &n.across, &n.gradient_mean}) v->resize(count);
  n.rest.resize(count);
  n.deviation.resize(count);
  normalisations.push_back(std::move(n));
  return int(normalisations.size()) - 1;
}

void Program::pack(int tensor, std::vector<int> origin, int size) {
  input_size = size;
  forward_.push_back([=, this] {
    const View to = view(tensor);
    constexpr int CHUNK = 64;  // cells written at a time: they stay in the first cache for all lanes
    const long cells = long(to.channels) * to.height * to.width;
    std::vector<long> from(cells), place(cells);
    long i = 0;
    for (int y = 0; y < to.height; y++)
      for (int c = 0; c < to.channels; c++)
        for (int x = 0; x < to.width; x++, i++) {
          from[i] = origin[3 * c] * images_.channel + (origin[3 * c + 1] + y) * images_.row +
                    (origin[3 * c + 2] + x) * images_.column;
          place[i] = y * to.row + c * to.channel + long(x) * LANES;
        }
    for (int b = 0; b < blocks_; b++)
      for (long begin = 0; begin < cells; begin += CHUNK) {
        const long end = std::min(cells, begin + CHUNK);
        for (int lane = 0; lane < LANES; lane++) {
          const int example = b * LANES + lane;
          float* out = to.data + b * to.block + lane;
          if (example >= examples_) {
            for (long k = begin; k < end; k++) out[place[k]] = 0;
            continue;
          }
          const float* image = images_.data + (images_.places ? images_.places[example] : example) * images_.example;
          for (long k = begin; k < end; k++) out[place[k]] = image[from[k]];
        }
      }
  });
}

void Program::convolve(bool backward, int input, int output, int weight, Rows rows, int input_step, Grid grid, int bias,
                       std::vector<int> bias_rows, bool accumulate) {
  std::vector<float> ordered(rows.order.size()), start(bias_rows.size());
  auto operation = [=, this]() mutable {
    const View in = view(input), out = view(output);
    const std::vector<float>& value = parameters[weight].value;
    for (size_t i = 0; i < ordered.size(); i++) ordered[i] = value[rows.order[i]];
    for (size_t i = 0; i < start.size(); i++) start[i] = parameters[bias].value[bias_rows[i]];
    Convolution job{};
    job.pattern = {int(rows.begin.size()), rows.begin.data(), rows.end.data(), rows.offset.data(),
                   rows.order.empty() ? value.data() : ordered.data()};
    job.bias = bias < 0 ? nullptr : start.data();
    job.input = in.data;
    job.output = out.data + grid.first_y * out.row + long(grid.first_x) * LANES;
    job.blocks = blocks_;
    job.height = grid.height;
    job.width = grid.width;
    job.input_block = in.block;
    job.input_row = in.row * input_step;
    job.output_block = out.block;
    job.output_row = out.row * grid.step;
    job.output_channel = out.channel;
    job.input_step = input_step;
    job.output_step = grid.step;
    job.accumulate = accumulate;
    job.stream = !accumulate && grid.step == 1 && out.block * blocks_ > STREAM_FLOATS;
    kernels_.convolve(job);
  };
  (backward ? backward_ : forward_).push_back(operation);
}

void Program::weight_gradient(int input, int gradient, int weight, Rows rows, int input_step, int bias,
                              std::vector<int> bias_rows) {
  backward_.push_back([=, this] {
    const View in = view(input), g = view(gradient);
    WeightGradient job{};
    job.pattern = {int(rows.begin.size()), rows.begin.data(), rows.end.data(), rows.offset.data(), nullptr};
    job.input = in.data;
    job.gradient = g.data;
    job.result = parameters[weight].gradient.data();
    job.scratch = scratch(long(parameters[weight].value.size()) * LANES);
    job.blocks = blocks_;
    job.height = g.height;
    job.width = g.width;
    job.input_block = in.block;
    job.input_row = in.row * input_step;
    job.gradient_block = g.block;
    job.gradient_row = g.row;
    job.gradient_channel = g.channel;
    job.input_step = input_step;
    kernels_.weight_gradient(job);
    if (bias < 0) return;
    std::vector<float> sums(g.channels);
    kernels_.channel_sums(g, sums.data());
    for (int c = 0; c < g.channels; c++) parameters[bias].gradient[bias_rows[c]] = sums[c];
  });
}

// Slope and offset of a normalisation: of this batch, whose statistics are also averaged, or of the running ones.
void Program::statistics(Normalisation& n, const View& y) {
  const size_t channels = n.channels.size();
  if (training_) {
    // Around the mean of a few values, so that a mean that is large beside the deviation costs no accuracy.
    const int few = std::min(examples_, LANES);
    for (size_t c = 0; c < channels; c++) {
      const float* middle = y.at(0, y.height / 2, int(c)) + y.width / 2 * LANES;
      n.mean[c] = std::accumulate(middle, middle + few, 0.0f) / float(few);
    }
    kernels_.moments(y, lanes_, n.mean.data(), sums_.data(), others_.data(), scratch(2L * channels * LANES));
    n.batches++;
  }
  const double count = double(examples_) * y.height * y.width;
  const double weight = n.momentum < 0 ? 1.0 / double(std::max(n.batches, 1L)) : n.momentum;
  for (size_t c = 0; c < channels; c++) {
    float& running_mean = n.running_mean[n.channels[c]];
    float& running_variance = n.running_variance[n.channels[c]];
    double mean = running_mean, variance = running_variance;
    if (training_) {
      const double beside = sums_[c] / count;
      mean = n.mean[c] + beside;
      variance = std::max(others_[c] / count - beside * beside, 0.0);
      running_mean = float((1 - weight) * running_mean + weight * mean);
      running_variance = float((1 - weight) * running_variance + weight * variance * count / (count - 1));
    }
    n.deviation[c] = 1 / std::sqrt(variance + n.epsilon);
    const double scale = n.scale < 0 ? 1 : parameters[n.scale].value[n.channels[c]];
    const double shift = n.shift < 0 ? 0 : parameters[n.shift].value[n.channels[c]];
    n.mean[c] = float(mean);
    n.rest[c] = mean - n.mean[c];
    n.slope[c] = float(scale * n.deviation[c]);
    n.offset[c] = float(shift - mean * scale * n.deviation[c]);
  }
}

void Program::join(int y, int normalisation, int residual, int out, bool relu) {
  sums_.resize(std::max(sums_.size(), size_t(tensors_.at(y).channels)));
  others_.resize(sums_.size());
  forward_.push_back([=, this] {
    const View from = view(y), beside = residual < 0 ? View{} : view(residual);
    const float *slope = nullptr, *offset = nullptr;
    if (normalisation >= 0) {
      Normalisation& n = normalisations[normalisation];
      statistics(n, from);
      slope = n.slope.data();
      offset = n.offset.data();
    }
    kernels_.join(from, residual < 0 ? nullptr : &beside, view(out), slope, offset, relu);
  });
}

void Program::normalise_gradient(int normalisation, int gradient, int y, int out, int result, Gate gate, bool accumulate) {
  backward_.push_back([=, this] {
    Normalisation& n = normalisations[normalisation];
    const View g = view(gradient), from = view(y), output = view(out);
    const size_t channels = n.channels.size();
    kernels_.gradient_moments(g, from, &output, gate, n.mean.data(), n.slope.data(), n.offset.data(), sums_.data(),
                              others_.data(), scratch(2L * channels * LANES));
    const double count = double(examples_) * from.height * from.width;
    for (size_t c = 0; c < channels; c++) {
      const double deviation = n.deviation[c], product = others_[c] - n.rest[c] * sums_[c];
      if (n.shift >= 0) parameters[n.shift].gradient[n.channels[c]] = float(sums_[c]);
      if (n.scale >= 0) parameters[n.scale].gradient[n.channels[c]] = float(product * deviation);
      n.across[c] = float(deviation * deviation * product / count);
      n.gradient_mean[c] = float(sums_[c] / count - n.across[c] * n.rest[c]);
    }
    kernels_.normalise_gradient(g, from, view(result), gate, n.mean.data(), n.slope.data(), n.offset.data(),
                                n.across.data(), n.gradient_mean.data(), accumulate, lanes_);
  });
}

void Program::gate(int gradient, int out) {
  backward_.push_back([=, this] { kernels_.gate(view(gradient), view(out)); });
}

void Program::add(int from, int into, bool accumulate) {
  backward_.push_back([=, this] { kernels_.add(view(from), view(into), accumulate); });
}

void Program::pool(int input, int output, Window window, bool maximum) {
  forward_.push_back([=, this] { kernels_.pool(view(input), view(output), window, maximum); });
}

void Program::pool_gradient(int input, int output, int output_gradient, int input_gradient, Window window, bool maximum,
                            bool accumulate) {
  backward_.push_back([=, this] {
    const View to = view(input_gradient);
    if (!accumulate)
      for (int b = 0; b < to.blocks; b++)
        for (int y = 0; y < to.height; y++)
          for (int c = 0; c < to.channels; c++) std::memset(to.at(b, y, c), 0, sizeof(float) * LANES * to.width);
    kernels_.pool_gradient(view(input), view(output), view(output_gradient), to, window, maximum);
  });
}

void Program::cross_entropy(int logits, int gradient) {
  classes = tensors_.at(logits).channels;
  forward_.push_back([=, this] {
    const View g = view(gradient);
    loss_ = kernels_.cross_entropy(view(logits), training_ ? &g : nullptr, targets_, examples_, correct_);
  });
}

void Program::run(const std::vector<Operation>& operations, size_t first) {
  if (!profiling) {
    for (const Operation& operation : operations) operation();
    return;
  }
  profile.resize(forward_.size() + backward_.size());
  for (size_t i = 0; i < operations.size(); i++) {
    const std::clock_t began = std::clock();
    operations[i]();
    profile[first + i] += double(std::clock() - began) / CLOCKS_PER_SEC;
  }
}

double Program::forward(const Images& images, const int64_t* targets, int examples, bool training) {
  if (examples < 1 || examples > most_examples_)
    throw std::invalid_argument("a batch of this program has 1 to " + std::to_string(most_examples_) + " examples");
  images_ = images;
  targets_ = targets;
  examples_ = examples;
  blocks_ = (examples + LANES - 1) / LANES;
  lanes_ = examples - (blocks_ - 1) * LANES;
  training_ = training;
  run(forward_, 0);
  return loss_ / examples;
}

double Program::gradients(const Images& images, const int64_t* targets, int examples) {
  const double loss = forward(images, targets, examples, true);
  run(backward_, forward_.size());
  return loss;
}

double Program::step(const Images& images, const int64_t* targets, int examples, double lr, double momentum, double decay) {
  const double loss = forward(images, targets, examples, true);
  if (!std::isfinite(loss)) return loss;
  run(backward_, forward_.size());
  for (Parameter& p : parameters)
    kernels_.update(p.value.data(), momentum ? p.velocity.data() : nullptr, p.gradient.data(), long(p.value.size()),
                    float(lr), float(momentum), float(decay));
  return loss;
}

double Program::evaluate(const Images& images, const int64_t* targets, int examples, bool* correct) {
  correct_ = correct;
  const double loss = forward(images, targets, examples, false);
  correct_ = nullptr;
  return loss;
}

std::vector<float> Program::values(int tensor, int examples) const {
  const Tensor& t = tensors_.at(tensor);
  std::vector<float> out;
  for (int n = 0; n < examples; n++)
    for (int c = 0; c < t.channels; c++)
      for (int y = 0; y < t.height; y++)
        for (int x = 0; x < t.width; x++)
          out.push_back(t.data[t.origin + n / LANES * t.block + y * t.row + c * t.channel + x * LANES + n % LANES]);
  return out;
}

}  // namespace prunemark
