// A split over key/value heads is one contiguous range of rows of each weight: what tensor
// parallelism will rely on. A model whose second head group does not reach the output is the model
// of half as many heads that takes the first half of every such weight.
#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"
#include "train/run_model.h"

namespace hg::test {
namespace {

constexpr std::int64_t kTokens = 20;

ModelConfig config(std::int64_t kv, const AttentionConfig& attention) {
  ModelConfig config;
  config.vocab_size = 31;
  config.hidden_size = 24;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 3 * kv;
  config.num_key_value_heads = kv;
  config.head_dim = 8;
  config.intermediate_size = 20;
  config.max_position_embeddings = kTokens;
  config.attention = attention;
  return config;
}

struct Model {
  explicit Model(const ModelConfig& config)
      : run(config, Device::cpu, cpu_context(isas().front())->cpu) {
    constexpr std::size_t kRoom = std::size_t{8} << 20;
    run.ctx.scratch.reserve(kRoom);
    run.tables.reserve(kRoom);
    run.store.allocate(Device::cpu, DType::f32, ParamStore::Purpose::inference);
    run.model.make_tables(run.ctx, run.tables);
    losses = allocate_losses(run.tables, kTokens);
  }
  Tensor forward(Tensors& memory) {
    std::vector<std::int32_t> ids, positions;
    for (std::int32_t t = 0; t < kTokens; ++t) ids.push_back(t * 7 % 31), positions.push_back(t);
    const Tensor tokens = memory.integers(ids);
    run.model.forward(run.ctx,
                      {.tokens = tokens,
                       .targets = tokens,
                       .positions = memory.integers(positions),
                       .documents = memory.integers({0, kTokens}),
                       .longest = kTokens},
                      losses);
    return losses.loss;
  }
  RunModel run;
  TokenLosses losses;
};

/// Copies what the half model needs: whole weights, and the first half of the rows of those that
/// are cut by head; of the output projection, the first half of the columns.
void take_first_half(const Model& whole, const Model& half) {
  const auto from = whole.run.store.states(), to = half.run.store.states();
  ASSERT_EQ(from.size(), to.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    const ParamSpec& spec = from[i].spec;
    ASSERT_EQ(spec.name, to[i].spec.name);
    const bool output = spec.name.ends_with("attention.out.weight");
    const std::int64_t width = spec.shape[spec.shape.rank() - 1];
    for (std::int64_t e = 0; e < to[i].master.numel(); ++e) {
      const std::int64_t at = output ? e / (width / 2) * width + e % (width / 2) : e;
      set(to[i].master, e, get(from[i].master, at));
    }
    if (!output) continue;
    for (std::int64_t e = 0; e < from[i].master.numel(); ++e) {
      if (e % width >= width / 2) set(from[i].master, e, 0);
    }
  }
}

void expect_split(const AttentionConfig& attention, const std::string& what) {
  Tensors memory;
  Model whole(config(2, attention)), half(config(1, attention));
  for (const ParamState& state : whole.run.store.states()) {
    const Tensor values = memory.normal(state.spec.name, state.master.shape(), DType::f32, 0.3F);
    for (std::int64_t i = 0; i < values.numel(); ++i) set(state.master, i, get(values, i));
  }
  take_first_half(whole, half);
  EXPECT_LT(relative_error(half.forward(memory), whole.forward(memory)), 1e-5) << what;
}

TEST(HeadSplit, IsOneRangeOfRowsForEveryGateWithHeads) {
  for (const auto& [position, name] : EnumNames<GatePosition>::values) {
    for (const auto& [input, source] : EnumNames<GateInput>::values) {
      for (const auto& [granularity, width] : EnumNames<GateGranularity>::values) {
        AttentionConfig attention;
        attention.gate.position = position;
        attention.gate.input = input;
        attention.gate.granularity = granularity;
        ConfigProblems problems;
        attention.gate.validate(problems);
        if (!problems.empty()) continue;
        expect_split(attention, fmt::format("{} {} {}", name, source, width));
      }
    }
  }
}

TEST(HeadSplit, IsOneRangeOfRowsForTheOtherWeights) {
  AttentionConfig attention;
  attention.output_norm = true;
  attention.sink = Sink::learned;
  expect_split(attention, "output norm and sinks");
  attention.gate.input_dims = 5;
  expect_split(attention, "first dimensions");
  attention.gate.input_dims = 0;
  attention.gate.heads = GateHeads::shared;
  expect_split(attention, "one matrix, which every rank has");
}

}  // namespace
}  // namespace hg::test
