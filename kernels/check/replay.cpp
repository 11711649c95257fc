// Replays a recorded program on kernels compiled for any instruction set: those of processors that the tests do not run
// on, in an emulator. Reads calls from standard input, a line each, and prints what they return.
//
// Each line is the name of a call and its arguments; an array is its length and its elements.
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "../src/program.h"

using prunemark::Gate;
using prunemark::Images;
using prunemark::Program;

namespace {

template <class T>
T one() {
  T value;
  if (!(std::cin >> value)) throw std::runtime_error("the recording ends within a call");
  return value;
}

template <class T>
std::vector<T> many() {
  std::vector<T> values(one<size_t>());
  for (T& value : values) value = one<T>();
  return values;
}

int integer() { return one<int>(); }
bool flag() { return integer() != 0; }

void print(const std::vector<float>& values) {
  for (float value : values) std::printf("%.9g ", double(value));
  std::printf("\n");
}

prunemark::Window window() {
  const auto w = many<int>();
  return {w.at(0), w.at(1), w.at(2), w.at(3), w.at(4), w.at(5), flag()};
}

// Every argument is read into a variable: the order in which a call's arguments are evaluated is not fixed.
void replay(Program& p, const std::string& call) {
  if (call == "tensor") {
    const auto a = many<int>();
    p.tensor(a.at(0), a.at(1), a.at(2), a.at(3));
  } else if (call == "parameter") {
    p.parameter(many<float>());
  } else if (call == "normalisation") {
    const int scale = integer(), shift = integer();
    const auto channels = many<int>();
    const auto mean = many<float>(), variance = many<float>();
    const double epsilon = one<double>(), momentum = one<double>();
    p.normalisation(scale, shift, channels, mean, variance, epsilon, momentum, one<long>());
  } else if (call == "pack") {
    const int tensor = integer();
    const auto origin = many<int>();
    p.pack(tensor, origin, integer());
  } else if (call == "convolve") {
    const bool backward = flag();
    const int input = integer(), output = integer(), weight = integer();
    const auto begin = many<int>(), end = many<int>(), offset = many<int>(), order = many<int>();
    const int step = integer();
    const auto g = many<int>();
    const int bias = integer();
    const auto rows = many<int>();
    p.convolve(backward, input, output, weight, {begin, end, offset, order}, step,
               {g.at(0), g.at(1), g.at(2), g.at(3), g.at(4)}, bias, rows, flag());
  } else if (call == "weight_gradient") {
    const int input = integer(), gradient = integer(), weight = integer();
    const auto begin = many<int>(), end = many<int>(), offset = many<int>();
    const int step = integer(), bias = integer();
    p.weight_gradient(input, gradient, weight, {begin, end, offset, {}}, step, bias, many<int>());
  } else if (call == "join") {
    const int y = integer(), normalisation = integer(), residual = integer(), out = integer();
    p.join(y, normalisation, residual, out, flag());
  } else if (call == "normalise_gradient") {
    const int n = integer(), gradient = integer(), y = integer(), out = integer(), result = integer();
    const auto gate = one<std::string>();
    const Gate kind = gate == "none" ? Gate::none : gate == "output" ? Gate::output : Gate::recomputed;
    p.normalise_gradient(n, gradient, y, out, result, kind, flag());
  } else if (call == "gate") {
    const int gradient = integer();
    p.gate(gradient, integer());
  } else if (call == "add") {
    const int from = integer(), into = integer();
    p.add(from, into, flag());
  } else if (call == "pool") {
    const int input = integer(), output = integer();
    const auto w = window();
    p.pool(input, output, w, flag());
  } else if (call == "pool_gradient") {
    const int input = integer(), output = integer(), above = integer(), below = integer();
    const auto w = window();
    const bool maximum = flag();
    p.pool_gradient(input, output, above, below, w, maximum, flag());
  } else if (call == "cross_entropy") {
    const int logits = integer();
    p.cross_entropy(logits, integer());
  } else if (call == "step") {  // of contiguous images
    const auto shape = many<long>();
    const auto images = many<float>();
    const auto targets = many<int64_t>();
    const double lr = one<double>(), momentum = one<double>(), decay = one<double>();
    const Images batch{images.data(), shape.at(0) * shape.at(1) * shape.at(2), shape.at(1) * shape.at(2), shape.at(2), 1,
                       nullptr};
    std::printf("%.9g\n", p.step(batch, targets.data(), int(targets.size()), lr, momentum, decay));
  } else if (call == "read") {
    for (const auto& parameter : p.parameters) {
      print(parameter.gradient);
      print(parameter.value);
    }
  } else {
    throw std::runtime_error("unknown call " + call);
  }
}

}  // namespace

int main() {
  Program program("", integer());
  std::fprintf(stderr, "%s\n", program.kernels());
  for (std::string call; std::cin >> call;) replay(program, call);
}
