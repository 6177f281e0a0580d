// Owns a model's parameters, their gradients and the optimizer's state, in flat memory per unit
// (embedding, each layer, head). A unit is what a sharded layout gathers and releases at a time;
// with one rank every unit is always there.
#pragma once

#include <deque>
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/context.h"

namespace hg {

using UnitId = int;
using ParamId = int;
using BufferId = int;

/// How a parameter starts: all ones, or normal with this standard deviation (0: all zeros).
struct Init {
  enum class Kind { ones, normal } kind;
  float std = 0;

  static Init ones() { return {Kind::ones}; }
  static Init normal(float std) { return {Kind::normal, std}; }
};

/// One parameter as the model declares it.
struct ParamSpec {
  /// Elements of one purpose, end to end, such as the gate's rows inside the fused projection.
  struct Part {
    std::string kind;    // for counts and norms: "attention", "gate", "norm", ...
    std::int64_t numel;  // of one repetition
    Init init;
  };
  std::string name;  // unique in the model; seeds the initial values
  Shape shape;
  bool decay;                // takes part in weight decay
  std::vector<Part> parts;   // in the order of the rows
  std::int64_t repeats = 1;  // all parts follow one another so many times: once per KV head
};

/// Calls fn(part, begin, end) for the elements [begin, end) of each part, in order, empty ones too.
template <class Fn>
void for_parts(const ParamSpec& spec, Fn&& fn) {
  std::int64_t at = 0;
  for (std::int64_t repeat = 0; repeat < spec.repeats; ++repeat) {
    for (const ParamSpec::Part& part : spec.parts) {
      fn(part, at, at + part.numel);
      at += part.numel;
    }
  }
}

/// What the optimizer updates at once: one parameter, flat.
struct ParamState {
  const ParamSpec& spec;
  UnitId unit;
  Tensor master, m, v;  // [N] f32
  Tensor working;       // [N] bf16; absent where the model computes with the master
  Tensor gradient;      // [N] f32
};

/// State of the model that no gradient changes, such as a router's bias: zero at first.
struct BufferSpec {
  std::string name;  // unique in the model
  DType dtype;
  Shape shape;
  bool saved;  // in checkpoints; else it lives for a step
};

struct Buffer {
  BufferSpec spec;
  Tensor values;
};

class ParamStore;

/// The weights of one unit, in the element type that the model computes with.
class Weights {
 public:
  Weights(const ParamStore& store, UnitId unit) : store_(store), unit_(unit) {}
  ConstTensor operator[](ParamId id) const;
  Tensor buffer(BufferId id) const;

 private:
  const ParamStore& store_;
  UnitId unit_;
};

/// The gradients of one unit, f32. `accumulate` is false for the first micro-batch of a step: then
/// backward overwrites.
class Gradients {
 public:
  Gradients(const ParamStore& store, UnitId unit, bool add)
      : accumulate(add), store_(store), unit_(unit) {}
  Tensor operator[](ParamId id) const;

  const bool accumulate;

 private:
  const ParamStore& store_;
  UnitId unit_;
};

class ParamStore {
 public:
  UnitId begin_unit(std::string name);
  /// Adds a parameter to the unit begun last.
  ParamId add(ParamSpec spec);
  BufferId add_buffer(BufferSpec spec);

  /// What is kept beside the working weights.
  enum class Purpose { inference, training };
  /// Lays all units out, in `compute` precision. On Device::meta nothing but addresses is handed
  /// out.
  void allocate(Device device, DType compute, Purpose purpose);
  /// Draws initial values by (seed, name, index): the same for every topology and thread count.
  void initialize(std::uint64_t seed);

  Weights weights(UnitId unit) const { return {*this, unit}; }
  Gradients gradients(UnitId unit, bool accumulate) const { return {*this, unit, accumulate}; }

  /// Every parameter with its state, in the order they were added.
  std::vector<ParamState> states() const;
  std::span<const Buffer> buffers() const { return buffers_; }
  /// All gradients of a unit, [N] f32, zero in the padding between parameters.
  Tensor flat_gradients(UnitId unit) const;

  std::span<const ParamSpec> specs() const { return specs_; }
  int units() const { return static_cast<int>(units_.size()); }
  const std::string& unit_name(UnitId unit) const {
    return units_[static_cast<std::size_t>(unit)].name;
  }
  DType compute_dtype() const { return compute_; }
  /// The memory behind it, by category.
  std::vector<const Arena*> arenas() const;

 private:
  struct Unit {
    std::string name;
    std::int64_t size = 0;  // elements, padded
    Tensor master, m, v, working, gradient;
  };
  friend class Weights;
  friend class Gradients;
  void allocate_buffers(Device device);
  Tensor part(const Tensor& flat, ParamId id) const;
  const Unit& unit_of(ParamId id) const;

  std::vector<ParamSpec> specs_;
  std::vector<UnitId> unit_ids_;       // of each parameter
  std::vector<std::int64_t> offsets_;  // of each parameter in its unit
  std::vector<Unit> units_;
  std::vector<Buffer> buffers_;
  DType compute_ = DType::f32;
  Arena working_{"weights"}, master_{"master weights"}, gradients_{"gradients"}, m_{"adam m"},
      v_{"adam v"}, buffers_arena_{"buffers"};
};

}  // namespace hg
