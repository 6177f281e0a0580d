// Looks at whole runs: they change nothing, stand where they should, and say something of every
// kind of model.
#include "train/looks/instruments_hook.h"

#include <gmock/gmock.h>

#include <set>

#include "support/small_run.h"

namespace hg::test {
namespace {

class InstrumentsHookTest : public SmallRun {
 protected:
  InstrumentsHookTest() {
    config.metrics.instrument_interval = 2;
    config.metrics.details_interval = 4;
  }

  std::vector<nlohmann::json> lines(const std::string& name, const char* file) const {
    std::vector<nlohmann::json> found;
    std::ifstream in(folder / name / file);
    for (std::string line; std::getline(in, line);) found.push_back(nlohmann::json::parse(line));
    return found;
  }

  /// The row and the line of details of a run of one step, without all that a session has around.
  struct Look {
    nlohmann::json row, details;
  };
  Look look_once() {
    config.training.steps = 1;
    config.metrics.instrument_interval = config.metrics.details_interval = 1;
    const CpuInfo cpu = detect_cpu();
    const auto run = make_training_model(config, cpu, plan_step(config, cpu));
    run->store.initialize(1);
    run->store.publish(run->ctx);
    const TokenFile file(config.data.train, config.model.vocab_size);
    Loader loader(file, {.seed = 1,
                         .seq_len = config.training.seq_len,
                         .sequences = config.training.micro_batch_size});
    const auto tokenizer = load_tokenizer("byte");
    const fs::path metrics = folder / "look" / "metrics.jsonl";
    const fs::path details = folder / "look" / "instruments.jsonl";
    fs::remove_all(folder / "look");
    fs::create_directories(folder / "look");
    Sinks sinks;
    sinks.push_back(std::make_unique<JsonLinesSink>(metrics));
    Trainer trainer(config, *run, loader, {});
    trainer.add(
        std::make_unique<InstrumentsHook>(sinks, folder / "look", *tokenizer, config, *run));
    trainer.run();
    return {nlohmann::json::parse(read_file(metrics)), nlohmann::json::parse(read_file(details))};
  }
};

/// Steps of rows, in their order.
std::vector<int> steps_of(const std::vector<nlohmann::json>& rows) {
  std::vector<int> steps;
  for (const auto& row : rows) steps.push_back(row.at("step"));
  return steps;
}

TEST_F(InstrumentsHookTest, LookingChangesNoBit) {
  config.training.steps = config.checkpoint.interval = 4;
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const Recompute recompute : {Recompute::none, Recompute::block}) {
      config.training.precision = precision;
      config.training.recompute = recompute;
      const auto name = [&](const char* what) {
        return fmt::format("{}_{}_{}", what, static_cast<int>(precision),
                           static_cast<int>(recompute));
      };
      config.metrics.instrument_interval = 0;
      run(name("blind"));
      config.metrics.instrument_interval = 1;
      config.metrics.details_interval = 2;
      run(name("looked"));
      EXPECT_EQ(weights(name("looked"), "step-00000004"), weights(name("blind"), "step-00000004"));
      const auto looked = rows(name("looked"), "train"), blind = rows(name("blind"), "train");
      ASSERT_EQ(looked.size(), 4U);
      ASSERT_EQ(blind.size(), 4U);
      for (std::size_t i = 0; i < looked.size(); ++i) {
        for (const char* value : {"loss_metrics/global_avg_loss", "grad_norm"})
          EXPECT_EQ(looked[i].at(value), blind[i].at(value)) << name("step ") << i + 1;
      }
      EXPECT_EQ(rows(name("looked"), "instruments").size(), 4U);
      EXPECT_TRUE(rows(name("blind"), "instruments").empty());
    }
  }
}

TEST_F(InstrumentsHookTest, LooksStandAtTheirStepsOnceAlsoBehindAResume) {
  run("run");
  const auto looks = [&] {
    auto result = rows("run", "instruments");
    for (auto& row : result) row.erase("time");
    return result;
  };
  const auto whole = looks();
  const auto details = lines("run", "instruments.jsonl");
  EXPECT_THAT(steps_of(whole), testing::ElementsAre(2, 4, 6, 8, 10, 12));
  EXPECT_THAT(steps_of(details), testing::ElementsAre(4, 8, 12));

  fs::remove_all(checkpoint("run", "step-00000012"));  // so that it continues behind step 6
  run("run");
  EXPECT_EQ(looks(), whole);
  EXPECT_EQ(lines("run", "instruments.jsonl"), details);
}

TEST_F(InstrumentsHookTest, DetailsHaveEveryLayerAndHead) {
  const nlohmann::json details = look_once().details;
  EXPECT_EQ(details.at("step"), 1);
  EXPECT_EQ(details.at("tokens"), 128);
  ASSERT_EQ(details.at("layers").size(), 2U);
  for (const auto& layer : details.at("layers")) {
    const auto& gate = layer.at("gate");
    for (const char* values : {"mean_of_heads", "p50_of_heads", "histogram"})
      EXPECT_EQ(gate.at(values).size(), 4U) << values;
    for (const char* values : {"first_token", "first_token_from_64", "entropy", "max_logit"})
      EXPECT_EQ(layer.at("attention").at(values).size(), 4U) << values;
    for (const auto& head : gate.at("histogram")) {
      int scores = 0;
      for (const int count : head) scores += count;
      EXPECT_EQ(scores, 64 * 16);  // tokens of a micro-batch, elements of a head
    }
    EXPECT_FALSE(gate.at("opened_by").empty());
  }
}

TEST_F(InstrumentsHookTest, RoutersOfLayersWithExpertsAreSeen) {
  config.model.moe.num_experts = 4;
  config.model.moe.top_k = 2;
  config.model.moe.expert_intermediate_size = 16;
  config.model.moe.dense_layers = {0};
  const Look look = look_once();
  for (const char* name : {"moe/max_load", "moe/max_load/layers.1", "moe/load_entropy",
                           "moe/balance_loss", "moe/z_loss", "moe/dropped"})
    EXPECT_TRUE(look.row.contains(name)) << name;
  EXPECT_FALSE(look.row.contains("moe/max_load/layers.0"));
  EXPECT_EQ(look.row.at("moe/dropped"), 0);
  EXPECT_FALSE(look.details.at("layers")[0].contains("experts"));
  double loads = 0;
  for (const double load : look.details.at("layers")[1].at("experts").at("load")) loads += load;
  EXPECT_NEAR(loads, 4, 1e-9);
}

/// Names of every row, and those of the rows of a gated model.
const std::set<std::string> kEvery = {"attention/first_token",
                                      "attention/first_token/layers.1",
                                      "attention/entropy",
                                      "attention/entropy/layers.1",
                                      "attention/max_logit",
                                      "attention/max_logit/layers.1",
                                      "attention/output_mean_abs",
                                      "activation/m_act",
                                      "activation/max",
                                      "activation/max/layers.1",
                                      "activation/mean_abs",
                                      "activation/max_in_layer",
                                      "activation/max_at_channel",
                                      "activation/max_at_token",
                                      "activation/max_mlp_output",
                                      "activation/max_attention_output",
                                      "update_ratio/attention",
                                      "grad_norm/layers.1",
                                      "weight_norm/mlp"};
const std::set<std::string> kGated = {"gate/mean",
                                      "gate/mean/layers.1",
                                      "gate/p01",
                                      "gate/p50",
                                      "gate/p99",
                                      "gate/below_0.05",
                                      "gate/below_0.1",
                                      "gate/below_0.1/layers.1",
                                      "gate/below_0.5",
                                      "gate/above_0.95",
                                      "gate/max_logit",
                                      "gate_input/mean_abs",
                                      "gate_input/below_1e-2",
                                      "gate_input/below_1e-3",
                                      "gate_output/mean_abs",
                                      "gate_output/below_1e-2",
                                      "gate_output/below_1e-3"};

TEST_F(InstrumentsHookTest, EveryGateIsSeen) {
  using Position = GatePosition;
  constexpr auto kElements = GateGranularity::elementwise, kHeads = GateGranularity::headwise;
  std::vector<GateConfig> gates;
  const auto add = [&](Position position, auto GateConfig::*key, auto value) {
    GateConfig& gate = gates.emplace_back();
    gate.position = position;
    gate.*key = value;
  };
  for (const auto& [position, name] : EnumNames<GatePosition>::values) {
    for (const auto granularity : {kElements, kHeads}) {
      const bool headless = position == Position::output || position == Position::none;
      if (headless && granularity == kHeads) continue;
      add(position, &GateConfig::granularity, granularity);
    }
  }
  for (const auto position : {Position::sdpa, Position::value}) {
    for (const auto heads : {GateHeads::mean_scores, GateHeads::mean_logits, GateHeads::shared})
      add(position, &GateConfig::heads, heads);
    for (const auto input : {GateInput::state, GateInput::self, GateInput::learned})
      add(position, &GateConfig::input, input);
  }
  for (const GateConfig& gate : gates) {
    config.model.attention.gate = gate;
    SCOPED_TRACE(to_yaml(gate));
    const Look look = look_once();
    const auto expect = [&](const std::set<std::string>& names, bool there) {
      for (const std::string& name : names) {
        ASSERT_EQ(look.row.contains(name), there) << name;
        if (there) {
          EXPECT_TRUE(look.row.at(name).is_number()) << name;
        }
      }
    };
    expect(kEvery, true);
    expect(kGated, gate.position != Position::none);
    // No document has a token at position 64, so that this mean is of nothing.
    expect({"attention/first_token_from_64"}, false);
    for (const auto& [name, value] : look.row.items()) EXPECT_FALSE(value.is_null()) << name;
    for (nlohmann::json layer : look.details.at("layers")) {
      EXPECT_EQ(layer.contains("gate"), gate.position != Position::none);
      layer.at("attention").erase("first_token_from_64");
      EXPECT_EQ(layer.dump().find("null"), std::string::npos) << layer.dump();
    }
  }
}

}  // namespace
}  // namespace hg::test
