// Faults put into a run by hooks: what the guard must see, and what it must leave behind.
#pragma once

#include <xxhash.h>

#include <cstring>
#include <vector>

#include "train/trainer.h"

namespace hg::test {

/// What goes wrong with a step. A flipped bit stays until something mends it; the others pass.
enum class Fault { nan_gradient, spike, flipped_bit };

/// Brings a fault into a step, the first `times` times that the run comes to it.
class FaultHook : public Hook {
 public:
  struct Options {
    Fault fault = Fault::nan_gradient;
    std::int64_t step = 0;
    int times = 1;
    int rank = -1;  // that it happens to; -1: all
  };
  explicit FaultHook(const Options& options) : options_(options) {}

  void before_step(Trainer& trainer) override {
    const int rank = trainer.model().store.mesh().world.rank;
    now_ = trainer.state().step + 1 == options_.step && options_.times > 0;
    if (now_) --options_.times;
    now_ = now_ && (options_.rank < 0 || options_.rank == rank);
    if (!now_ || options_.fault == Fault::nan_gradient) return;
    const Context& ctx = trainer.model().ctx;
    const Tensor weight = head_norm(trainer);
    saved_.resize(static_cast<std::size_t>(weight.numel()));
    load_values(ctx, saved_.data(), weight);
    std::vector<float> bad = saved_;
    if (options_.fault == Fault::spike) {
      for (float& value : bad) value *= -8;
    } else {
      std::uint32_t bits = 0;
      std::memcpy(&bits, &bad.front(), sizeof(bits));
      bits ^= 1U << 30;  // the highest of the exponent
      std::memcpy(&bad.front(), &bits, sizeof(bits));
    }
    store_values(ctx, weight, bad.data());
  }

  void gradients_ready(Trainer& trainer) override {
    if (!now_) return;
    RunModel& run = trainer.model();
    if (options_.fault == Fault::spike) store_values(run.ctx, head_norm(trainer), saved_.data());
    if (options_.fault != Fault::nan_gradient) return;
    run.store.finish_reduce(run.ctx);
    for (const ParamState& state : run.store.states()) {
      if (!state.counts) continue;
      const float nan = std::numeric_limits<float>::quiet_NaN();
      store_values(run.ctx, state.gradient.slice(0, 0, 1), &nan);
      break;
    }
  }

 private:
  /// The weight of the last norm, which every rank holds whole where weights are not sharded.
  static Tensor head_norm(Trainer& trainer) {
    for (const Replica& replica : trainer.model().store.replicas()) {
      if (replica.name != "head.norm.weight") continue;
      return {const_cast<void*>(replica.values.data()), DType::f32, replica.values.shape()};
    }
    fail("the model has no head.norm.weight");
  }

  Options options_;
  bool now_ = false;
  std::vector<float> saved_;
};

/// The steps that counted, and hashes of all that this rank's optimizer holds behind each.
class StateHashes : public Hook {
 public:
  struct Entry {
    std::int64_t step;
    std::uint64_t hash;
    bool operator==(const Entry&) const = default;
  };
  explicit StateHashes(std::vector<Entry>& entries) : entries_(entries) {}

  void after_step(Trainer& trainer, const StepResult& result) override {
    const RunModel& run = trainer.model();
    std::uint64_t hash = 0;
    for (const ParamState& state : run.store.states()) {
      for (const Tensor& tensor : {state.master, state.m, state.v}) {
        const HostValues<float> values(run.ctx, tensor);
        hash = XXH3_64bits_withSeed(values.data(), static_cast<std::size_t>(tensor.bytes()), hash);
      }
    }
    entries_.push_back({result.step, hash});
  }

 private:
  std::vector<Entry>& entries_;
};

}  // namespace hg::test
