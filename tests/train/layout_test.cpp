// Which layouts fit a config, and what is said of those that do not.
#include "train/layout.h"
#include "support/paths.h"

#include <gtest/gtest.h>

namespace hg::test {
namespace {

RunConfig config_of(const char* file, const std::vector<std::string>& overrides) {
  return load_config<RunConfig>(source_path("configs/") + file, overrides).value;
}

std::string error_of(const char* file, const std::vector<std::string>& overrides, int ranks) {
  try {
    layout_of(config_of(file, overrides), ranks);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Layout, DataIsWhatRemains) {
  EXPECT_EQ(layout_of(config_of("tiny.yaml", {}), 1).size(), 1);
  const MeshShape shape =
      layout_of(config_of("tiny.yaml", {"parallelism.tensor=2", "training.micro_batch_size=4"}), 8);
  EXPECT_EQ(shape.data, 4);
  EXPECT_EQ(shape.tensor, 2);
  EXPECT_FALSE(shape.sequence);
  const MeshShape shared = layout_of(
      config_of("tiny.yaml", {"parallelism.context=4", "training.micro_batch_size=4"}), 8);
  EXPECT_EQ(shared.context, 4);
  EXPECT_EQ(shared.data, 2);
}

TEST(Layout, SaysWhatDoesNotFit) {
  struct Case {
    const char* file;
    std::vector<std::string> overrides;
    int ranks;
    const char* expected;
  };
  const Case cases[] = {
      {"tiny.yaml",
       {"parallelism.data=2"},
       4,
       "data = 2 x pipeline x context x tensor = 1 is 2 ranks, but 4 were"},
      {"tiny.yaml", {"parallelism.data=2"}, 1, "is 2 ranks, but 1 was started"},
      {"tiny.yaml", {"parallelism.tensor=2"}, 3, "number of ranks = 3 does not divide by"},
      {"tiny.yaml", {}, 3, "global_batch_size = 16 does not divide by"},
      {"tiny.yaml", {"parallelism.tensor=4"}, 4, "num_key_value_heads = 2 does not divide by"},
      {"tiny.yaml",
       {"parallelism.tensor=2", "model.vocab_size=4097"},
       2,
       "vocab_size = 4097 does not divide by"},
      {"tiny.yaml",
       {"parallelism.tensor=2", "model.attention.gate.heads=mean_scores"},
       2,
       "a mean over all heads"},
      {"tiny.yaml",
       {"parallelism.tensor=2", "model.attention.gate.position=output"},
       2,
       "behind the sum over all heads"},
      {"tiny.yaml", {"parallelism.expert=2"}, 2, "the model has no experts"},
      {"tiny-moe.yaml",
       {"parallelism.expert=3", "training.global_batch_size=48"},
       3,
       "num_experts = 8 does not divide by parallelism.expert = 3"},
      {"tiny.yaml",
       {"parallelism.context=3", "training.global_batch_size=12"},
       3,
       "the tokens of a micro-batch = 256 does not divide by 2 x parallelism.context = 6"},
      {"tiny.yaml",
       {"parallelism.context=2", "parallelism.tensor=2", "parallelism.sequence_parallel=true",
        "training.seq_len=252"},
       4,
       "= 252 does not divide by 2 x parallelism.context x tensor = 8"},
      {"tiny-moe.yaml",
       {"parallelism.context=2", "model.moe.load_balance=sequence", "model.moe.aux_loss_coef=0.01"},
       2,
       "with parallelism.context = 2 no rank routes whole documents"},
      {"tiny-moe.yaml", {"parallelism.tensor=2"}, 2, "need parallelism.sequence_parallel: true"},
  };
  for (const Case& c : cases) {
    std::vector<std::string> overrides = c.overrides;
    overrides.push_back("training.micro_batch_size=1");
    const std::string error = error_of(c.file, overrides, c.ranks);
    EXPECT_NE(error.find(c.expected), std::string::npos) << c.expected << ": " << error;
  }
}

}  // namespace
}  // namespace hg::test
