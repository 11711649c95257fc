// The Python module prunemark_kernels.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "program.h"

namespace nb = nanobind;
using namespace nb::literals;
using prunemark::Gate;
using prunemark::Images;
using prunemark::Program;

namespace {

using Ints = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Longs = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Flags = nb::ndarray<bool, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Inputs = nb::ndarray<const float, nb::ndim<4>, nb::device::cpu>;

std::vector<int32_t> copied(const Ints& ints) { return {ints.data(), ints.data() + ints.size()}; }
std::vector<float> copied(const Floats& floats) { return {floats.data(), floats.data() + floats.size()}; }

Program::Rows rows(const Ints& begin, const Ints& end, const Ints& offset, const Ints& order) {
  return {copied(begin), copied(end), copied(offset), copied(order)};
}

// What the kernels read without looking: checked here.
Images images(const Program& program, const Inputs& inputs, const Longs& targets, const Longs* places) {
  if ((places ? places->size() : inputs.shape(0)) != targets.size())
    throw std::invalid_argument("each image of a batch has one target");
  if (inputs.shape(1) * inputs.shape(2) * inputs.shape(3) != size_t(program.input_size))
    throw std::invalid_argument("images of another shape than the program was made for");
  for (size_t i = 0; i < targets.size(); i++)
    if (targets.data()[i] < 0 || targets.data()[i] >= program.classes)
      throw std::invalid_argument("class " + std::to_string(targets.data()[i]) + " of " + std::to_string(program.classes));
  for (size_t i = 0; places && i < places->size(); i++)
    if (places->data()[i] < 0 || places->data()[i] >= int64_t(inputs.shape(0)))
      throw std::invalid_argument("image " + std::to_string(places->data()[i]) + " of " + std::to_string(inputs.shape(0)));
  return {inputs.data(), long(inputs.stride(0)), long(inputs.stride(1)), long(inputs.stride(2)), long(inputs.stride(3)),
          places ? places->data() : nullptr};
}

void copy_into(const std::vector<float>& from, Floats& to) {
  if (from.size() != to.size()) throw std::invalid_argument("a parameter of another size");
  std::copy(from.begin(), from.end(), to.data());
}

}  // namespace

NB_MODULE(prunemark_kernels, m) {
  m.doc() = "Masked training at the sparse cost: the kernels of prunemark's sparse engine.";
  m.def("available_kernels", &prunemark::available_kernels, "Instruction sets of this processor, the best last.");

  nb::class_<Program>(m, "Program", "A training step: operations over tensors and parameters, without Python.")
      .def(nb::init<const std::string&, int>(), "kernels"_a, "examples"_a)
      .def_prop_ro("kernels", &Program::kernels)
      .def("tensor", &Program::tensor, "channels"_a, "height"_a, "width"_a, "pad"_a)
      .def("strides", &Program::strides, "tensor"_a)
      .def("parameter", [](Program& p, const Floats& values) { return p.parameter(copied(values)); }, "values"_a)
      .def("normalisation",
           [](Program& p, int scale, int shift, const Ints& channels, const Floats& mean, const Floats& variance,
              double epsilon, double momentum, long batches) {
             return p.normalisation(scale, shift, copied(channels), copied(mean), copied(variance), epsilon, momentum, batches);
           },
           "scale"_a, "shift"_a, "channels"_a, "mean"_a, "variance"_a, "epsilon"_a, "momentum"_a, "batches"_a)
      .def("pack",
           [](Program& p, int tensor, const Ints& origin, int input_size) { p.pack(tensor, copied(origin), input_size); },
           "tensor"_a, "origin"_a, "input_size"_a)
      .def("convolve",
           [](Program& p, bool backward, int input, int output, int weight, const Ints& begin, const Ints& end,
              const Ints& offset, const Ints& order, int input_step, std::vector<int> grid, int bias,
              const Ints& bias_rows, bool accumulate) {
             p.convolve(backward, input, output, weight, rows(begin, end, offset, order), input_step,
                        {grid.at(0), grid.at(1), grid.at(2), grid.at(3), grid.at(4)}, bias, copied(bias_rows), accumulate);
           },
           "backward"_a, "input"_a, "output"_a, "weight"_a, "begin"_a, "end"_a, "offset"_a, "order"_a, "input_step"_a,
           "grid"_a, "bias"_a, "bias_rows"_a, "accumulate"_a)
      .def("weight_gradient",
           [](Program& p, int input, int gradient, int weight, const Ints& begin, const Ints& end, const Ints& offset,
              int input_step, int bias, const Ints& bias_rows) {
             p.weight_gradient(input, gradient, weight, {copied(begin), copied(end), copied(offset), {}}, input_step, bias,
                               copied(bias_rows));
           },
           "input"_a, "gradient"_a, "weight"_a, "begin"_a, "end"_a, "offset"_a, "input_step"_a, "bias"_a, "bias_rows"_a)
      .def("join", &Program::join, "y"_a, "normalisation"_a, "residual"_a, "out"_a, "relu"_a)
      .def("normalise_gradient",
           [](Program& p, int normalisation, int gradient, int y, int out, int result, const std::string& gate,
              bool accumulate) {
             const Gate kind = gate == "none" ? Gate::none : gate == "output" ? Gate::output : Gate::recomputed;
             p.normalise_gradient(normalisation, gradient, y, out, result, kind, accumulate);
           },
           "normalisation"_a, "gradient"_a, "y"_a, "out"_a, "result"_a,
           "gate"_a, "accumulate"_a)
      .def("gate", &Program::gate, "gradient"_a, "out"_a)
      .def("add", &Program::add, "source"_a, "into"_a, "accumulate"_a)
      .def("pool",
           [](Program& p, int input, int output, std::vector<int> w, bool count_padding, bool maximum) {
             p.pool(input, output, {w.at(0), w.at(1), w.at(2), w.at(3), w.at(4), w.at(5), count_padding}, maximum);
           },
           "input"_a, "output"_a, "window"_a, "count_padding"_a, "maximum"_a)
      .def("pool_gradient",
           [](Program& p, int input, int output, int output_gradient, int input_gradient, std::vector<int> w,
              bool count_padding, bool maximum, bool accumulate) {
             p.pool_gradient(input, output, output_gradient, input_gradient,
                             {w.at(0), w.at(1), w.at(2), w.at(3), w.at(4), w.at(5), count_padding}, maximum, accumulate);
           },
           "input"_a, "output"_a, "output_gradient"_a, "input_gradient"_a, "window"_a, "count_padding"_a, "maximum"_a,
           "accumulate"_a)
      .def("cross_entropy", &Program::cross_entropy, "logits"_a, "gradient"_a)
      .def("step",
           [](Program& p, const Inputs& inputs, const Longs& targets, std::optional<Longs> places, double lr,
              double momentum, double decay) {
             const Images batch = images(p, inputs, targets, places ? &*places : nullptr);
             nb::gil_scoped_release release;
             return p.step(batch, targets.data(), int(targets.size()), lr, momentum, decay);
           },
           "inputs"_a, "targets"_a, "places"_a.none(), "lr"_a, "momentum"_a, "decay"_a)
      .def("gradients",
           [](Program& p, const Inputs& inputs, const Longs& targets) {
             const Images batch = images(p, inputs, targets, nullptr);
             nb::gil_scoped_release release;
             return p.gradients(batch, targets.data(), int(targets.size()));
           },
           "inputs"_a, "targets"_a)
      .def("evaluate",
           [](Program& p, const Inputs& inputs, const Longs& targets, Flags correct) {
             const Images batch = images(p, inputs, targets, nullptr);
             if (correct.size() != targets.size()) throw std::invalid_argument("each image has one answer");
             nb::gil_scoped_release release;
             return p.evaluate(batch, targets.data(), int(targets.size()), correct.data());
           },
           "inputs"_a, "targets"_a, "correct"_a)
      .def("read_parameter",
           [](const Program& p, int id, Floats value, Floats velocity, Floats gradient) {
             copy_into(p.parameters.at(id).value, value);
             copy_into(p.parameters.at(id).velocity, velocity);
             copy_into(p.parameters.at(id).gradient, gradient);
           },
           "id"_a, "value"_a, "velocity"_a, "gradient"_a)
      .def("write_velocity",
           [](Program& p, int id, const Floats& velocity) {
             if (velocity.size() != p.parameters.at(id).value.size())
               throw std::invalid_argument("a parameter of another size");
             p.parameters[id].velocity = copied(velocity);
           },
           "id"_a, "velocity"_a)
      .def("read_statistics",
           [](const Program& p, int id, Floats mean, Floats variance) {
             copy_into(p.normalisations.at(id).running_mean, mean);
             copy_into(p.normalisations.at(id).running_variance, variance);
             return p.normalisations.at(id).batches;
           },
           "id"_a, "mean"_a, "variance"_a)
      .def("values", &Program::values, "tensor"_a, "examples"_a)
      .def_rw("profiling", &Program::profiling)
      .def_rw("profile", &Program::profile);
}
