// What a config may say of experts, and what it is told where that cannot be.
#include "model/moe_config.h"

#include <gtest/gtest.h>

#include "support/paths.h"
#include "train/config.h"

namespace hg::test {
namespace {

/// The error of configs/tiny-moe.yaml with one key of its section `moe` changed.
std::string error_of(const std::string& key) {
  try {
    load_config<RunConfig>(source_path("configs/tiny-moe.yaml"), {"model.moe." + key});
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(MoeConfig, SaysWhatCannotBe) {
  EXPECT_EQ(error_of("top_k=8"), "");
  const std::pair<const char*, const char*> cases[] = {
      {"top_k=9", "top_k=9: is 9, expected 1 to num_experts = 8"},
      {"top_k=0", "top_k=0: is 0, expected 1 to num_experts = 8"},
      {"num_experts=2000", "num_experts=2000: found '2000', expected an integer >= 0 and <= 1024"},
      {"expert_intermediate_size=0", "expert_intermediate_size=0: is 0, expected 1 or more"},
      {"shared_expert_gate=true", "there is no shared expert"},
      {"top_k=1", "the router learns nothing"},
      {"dense_layers=[1, 4]", "has 4; the model has layers 0 to 3"},
      {"score=tanh", "expected one of softmax, sigmoid"},
      {"capacity_factor=-1", "capacity_factor=-1: found '-1'"},
  };
  for (const auto& [keys, expected] : cases)
    EXPECT_NE(error_of(keys).find(expected), std::string::npos) << keys << ": " << error_of(keys);
}

TEST(MoeConfig, ADenseLayerNeedsItsWidth) {
  EXPECT_EQ(error_of("dense_layers=[0]"), "");
  try {
    load_config<RunConfig>(source_path("configs/tiny-moe.yaml"), {"model.intermediate_size=0"});
    load_config<RunConfig>(source_path("configs/tiny-moe.yaml"),
                           {"model.intermediate_size=0", "model.moe.dense_layers=[2]"});
    ADD_FAILURE() << "a dense layer has no width";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("expected the width of the dense layers"),
              std::string::npos)
        << e.what();
  }
}

TEST(MoeConfig, CapacityIsTheMeanLoadTimesTheFactorRoundedUp) {
  MoeConfig config;
  config.num_experts = 6;
  config.top_k = 2;
  EXPECT_EQ(config.capacity(100), 0);
  config.capacity_factor = 1;
  EXPECT_EQ(config.capacity(100), 34);
  config.capacity_factor = 1.5;
  EXPECT_EQ(config.capacity(100), 50);
}

}  // namespace
}  // namespace hg::test
