#include "train/looks/update_norms.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "support/tensors.h"
#include "train/optimizer.h"
#include "train/run_model.h"

namespace hg::test {
namespace {

/// A small gated model before and after an optimizer step.
struct Stepped {
  Stepped() : run(config(), Device::cpu, cpu_context(isas().front())->cpu) {
    constexpr std::size_t kRoom = std::size_t{8} << 20;
    run.ctx.scratch.reserve(kRoom);
    run.store.allocate(Device::cpu, DType::f32, ParamStore::Purpose::training);
    run.store.initialize(1);
    for (const ParamState& state : run.store.states()) {
      before.push_back(memory.copy(state.master, DType::f32));
      const Tensor gradient = memory.normal(state.spec.name, state.gradient.shape());
      for (std::int64_t i = 0; i < gradient.numel(); ++i) set(state.gradient, i, get(gradient, i));
    }
    adamw_step(run.ctx, run.store, optimizer, kLr, kScale, 1);
  }
  static ModelConfig config() {
    ModelConfig config;
    config.vocab_size = 31;
    config.hidden_size = 24;
    config.num_hidden_layers = 2;
    config.num_attention_heads = 4;
    config.num_key_value_heads = 2;
    config.head_dim = 8;
    config.intermediate_size = 20;
    return config;
  }
  static constexpr double kLr = 1e-2, kScale = 0.25;
  OptimizerConfig optimizer;
  RunModel run;
  Tensors memory;
  std::vector<Tensor> before;
};

/// The kind of element `i`, by walking the parts of its parameter.
std::string kind_of(const ParamSpec& spec, std::int64_t i) {
  for (;;) {
    for (const ParamSpec::Part& part : spec.parts) {
      if (i < part.numel) return part.kind;
      i -= part.numel;
    }
  }
}

TEST(UpdateNorms, AgreeWithDifferencesOfTheWeights) {
  Stepped model;
  std::map<std::pair<std::string, std::string>, UpdateSums> expected;
  std::size_t parameter = 0;
  for (const ParamState& state : model.run.store.states()) {
    const Tensor& before = model.before[parameter++];
    for (std::int64_t i = 0; i < before.numel(); ++i) {
      const double w = double{get(state.master, i)}, moved = w - double{get(before, i)},
                   g = Stepped::kScale * double{get(state.gradient, i)};
      expected[{kind_of(state.spec, i), model.run.store.unit_name(state.unit)}].add(
          {.gradient = g * g, .weight = w * w, .update = moved * moved});
    }
  }
  const auto groups = measure_updates(model.run, model.optimizer, Stepped::kLr, Stepped::kScale, 1);
  EXPECT_EQ(groups.size(), expected.size());
  for (const UpdateGroup& group : groups) {
    const UpdateSums& sums = expected.at({group.kind, group.unit});
    EXPECT_NEAR(group.sums.gradient / sums.gradient, 1, 1e-5) << group.kind << " " << group.unit;
    EXPECT_NEAR(group.sums.weight / sums.weight, 1, 1e-5) << group.kind << " " << group.unit;
    // The difference of two f32 weights has fewer digits than the update itself.
    EXPECT_NEAR(group.sums.update / sums.update, 1, 1e-3) << group.kind << " " << group.unit;
  }
}

}  // namespace
}  // namespace hg::test
