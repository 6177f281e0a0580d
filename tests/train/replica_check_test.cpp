#include "train/replica_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/rank_model.h"

namespace hg::test {
namespace {

using testing::ContainsRegex;

struct Flip {
  const char* name;
  int data, tensor, expert, zero;
  Precision precision;
  const char* parameter;  // the beginning of the replica's name
  const char* words;      // a regular expression
};

/// A model that learns from four ranks, with experts where ranks have different ones.
RunConfig config_of(const Flip& flip) {
  RunConfig config = rank_config();
  config.parallelism = {.data = flip.data,
                        .tensor = flip.tensor,
                        .expert = flip.expert,
                        .zero_stage = flip.zero,
                        .sequence_parallel = false};
  config.training.precision = flip.precision;
  if (flip.expert > 1) {
    config.model.moe.num_experts = 4;
    config.model.moe.top_k = 2;
    config.model.moe.expert_intermediate_size = 24;
    config.model.moe.score = RouterScore::sigmoid;
    config.model.moe.bias_update_rate = 1e-3;
  }
  return config;
}

/// What four ranks say where rank 2 flips a bit of a parameter after two steps; "" if they are
/// well.
std::string found(const Flip& flip) {
  try {
    run_ranks(4, [&](Comm& world) {
      RankModel model(world, config_of(flip));
      check_replicas(model.context(), model.store(), 0);
      model.step(2);
      model.step(1);
      check_replicas(model.context(), model.store(), 2);
      if (world.rank() == 2 && *flip.parameter != '\0') {
        for (const Replica& replica : model.store().replicas()) {
          if (!replica.name.starts_with(flip.parameter) || !replica.values) continue;
          auto* bytes = static_cast<unsigned char*>(const_cast<void*>(replica.values.data()));
          bytes[replica.values.bytes() / 2] ^= 1;
          break;
        }
      }
      check_replicas(model.context(), model.store(), 3);
    });
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

class ReplicaCheck : public testing::TestWithParam<Flip> {};

TEST_P(ReplicaCheck, NamesParameterAndRanks) {
  Flip flip = GetParam();
  EXPECT_THAT(found(flip), ContainsRegex(flip.words));
  flip.parameter = "";
  EXPECT_EQ(found(flip), "");
}

constexpr Flip kFlips[] = {
    {"WholeWeights", 4, 1, 1, 1, Precision::f32, "layers.1.mlp.down.weight",
     "step 3: ranks that must hold the same bits do not: layers.1.mlp.down.weight has hash "
     "[0-9a-f]+ on ranks? [0-9, ]+, hash [0-9a-f]+ on ranks? [0-9, ]+; 0 more differ"},
    {"WorkingWeights", 4, 1, 1, 2, Precision::bf16, "head.norm",
     "head.norm.weight has .* on rank 2"},
    {"Moments", 4, 1, 1, 0, Precision::f32, "embedding.weight (adam m)",
     "embedding.weight .adam m. has .* on rank 2"},
    {"OverData", 2, 2, 1, 0, Precision::f32, "layers.0.mlp.gate_up.weight",
     "layers.0.mlp.gate_up.weight has hash [0-9a-f]+ on rank [02], hash [0-9a-f]+ on rank [02];"},
    {"OverTensor", 2, 2, 1, 3, Precision::bf16, "layers.3.mlp.norm",
     "layers.3.mlp.norm.weight has hash [0-9a-f]+ on rank [23], hash [0-9a-f]+ on rank [23];"},
    {"Experts", 4, 1, 2, 1, Precision::f32, "layers.2.mlp.experts.down.weight",
     "layers.2.mlp.experts.down.weight has hash [0-9a-f]+ on rank [02], hash [0-9a-f]+ on rank "
     "[02];"},
    {"Buffers", 4, 1, 4, 3, Precision::f32, "layers.2.mlp.router.bias",
     "layers.2.mlp.router.bias has .* on rank 2"},
};

INSTANTIATE_TEST_SUITE_P(Layouts, ReplicaCheck, testing::ValuesIn(kFlips),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace hg::test
