// Models whose weights, and what must come of them, were made by PyTorch.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/paths.h"
#include "support/tensors.h"
#include "train/run_model.h"
#include "train/safetensors.h"

namespace hg::test {

/// A golden file that scripts/oracle/make_model_goldens.py made.
struct Golden {
  explicit Golden(const std::string& name)
      : file(source_path("tests/golden/model_") + name + ".safetensors") {
    config = parse_config<ModelConfig>(file.metadata().at("model"), name).value;
    z_loss = std::stof(file.metadata().at("z_loss"));
    batch = {.tokens = file.tensor("tokens"),
             .targets = file.tensor("targets"),
             .positions = file.tensor("positions"),
             .documents = file.tensor("documents"),
             .longest = file.tensor("tokens").numel()};
  }
  SafetensorsFile file;
  ModelConfig config;
  float z_loss;
  Batch batch;
};

/// A golden's model with its weights, ready to run.
struct Loaded {
  Loaded(const Golden& golden, Isa isa, DType dtype = DType::f32)
      : run(golden.config, Device::cpu, cpu_context(isa)->cpu) {
    constexpr std::size_t kRoom = std::size_t{32} << 20;
    run.ctx.activations.reserve(kRoom);
    run.ctx.scratch.reserve(kRoom);
    run.tables.reserve(kRoom);
    run.store.allocate(Device::cpu, dtype, ParamStore::Purpose::training);
    run.model.make_tables(run.ctx, run.tables);
    for (const ParamState& state : run.store.states()) {
      const ConstTensor from = golden.file.tensor(state.spec.name);
      EXPECT_EQ(from.shape(), state.spec.shape) << state.spec.name;
      std::copy_n(from.as<float>(), from.numel(), state.master.as<float>());
    }
    for (const Buffer& buffer : run.store.buffers()) {
      if (!buffer.spec.saved) continue;
      const ConstTensor from = golden.file.tensor(buffer.spec.name);
      std::copy_n(from.as<float>(), from.numel(), buffer.values.as<float>());
    }
    run.store.publish(run.ctx);
    const std::int64_t tokens = golden.batch.tokens.numel();
    losses = {.loss = run.tables.allocate("loss", DType::f32, {tokens}),
              .lse = run.tables.allocate("lse", DType::f32, {tokens})};
  }
  void step(const Golden& golden, Recompute recompute = Recompute::none, bool accumulate = false) {
    run.model.forward_backward(
        run.ctx, golden.batch,
        {.recompute = recompute, .z_loss = golden.z_loss, .micro = {.first = !accumulate}}, losses);
  }
  /// Copies of all gradients, in the order of the parameters.
  std::vector<Tensor> gradients() {
    std::vector<Tensor> result;
    for (const ParamState& state : run.store.states())
      result.push_back(memory.copy(state.gradient, DType::f32));
    return result;
  }
  RunModel run;
  TokenLosses losses;
  Tensors memory;
};

}  // namespace hg::test
