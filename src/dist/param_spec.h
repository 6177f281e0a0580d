// What a model declares of its parameters, and of state that is none.
#pragma once

#include <string>
#include <vector>

#include "dist/sharding.h"

namespace hg {

/// How a parameter starts: all ones, or normal with this standard deviation (0: all zeros).
struct Init {
  enum class Kind { ones, normal } kind;
  float std = 0;

  static Init ones() { return {Kind::ones}; }
  static Init normal(float std) { return {Kind::normal, std}; }
};

/// One parameter as the model declares it: this rank's part, where it is split.
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
  Split split = Split::none;

  std::int64_t numel() const { return shape.numel(); }
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

/// State of the model that no gradient changes, such as a router's bias: zero at first, the same on
/// every rank.
struct BufferSpec {
  std::string name;  // unique in the model
  DType dtype;
  Shape shape;
  bool saved;  // in checkpoints; else it lives for a step
};

}  // namespace hg
