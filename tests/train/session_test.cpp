// Whole runs in small: the loss falls, a resumed run is the same run, and what must stop a run
// stops it.
#include "train/session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "core/file.h"
#include "core/parallel.h"
#include "dist/run_ranks.h"
#include "model/flops.h"
#include "support/small_run.h"
#include "train/metrics/metrics.h"

namespace hg::test {
namespace {

class SessionTest : public SmallRun {};

TEST_F(SessionTest, TheLossStartsAtLnVAndFalls) {
  config.training.steps = 40;
  const SessionSummary summary = run("run");
  EXPECT_NEAR(summary.first_validation_loss, std::log(257.0), 0.01 * std::log(257.0));
  EXPECT_LT(summary.last_validation_loss, 0.6 * std::log(257.0));
  EXPECT_EQ(rows("run", "train").size(), 40U);
  EXPECT_TRUE(fs::exists(folder / "run" / "machine.json"));
}

TEST_F(SessionTest, SpeedsAreOfOneRankAndOfAll) {
  config.training.steps = 3;
  const std::string resolved = to_yaml(config);
  run_ranks(2, [&](Comm& world) {
    train(config, {.folder = folder / "run",
                   .resolved_config = resolved,
                   .console = nullptr,
                   .world = &world,
                   .peak_flops = 1e12});
  });
  const double per_token =
      model_flops_per_token(config.model, *declare_model(config.model), config.training.seq_len);
  for (const auto& row : rows("run", "train")) {
    const double all = row.at(metric::kTotalTokensPerSecond),
                 one = row.at(metric::kTokensPerSecond);
    EXPECT_DOUBLE_EQ(all * row.at(metric::kStepSeconds).get<double>(), 4 * 32);
    EXPECT_DOUBLE_EQ(2 * one, all);
    EXPECT_DOUBLE_EQ(row.at(metric::kTflops), one * per_token / 1e12);
    EXPECT_DOUBLE_EQ(row.at(metric::kMfu), 100 * one * per_token / 1e12) << "of a rank's 1e12";
    EXPECT_GT(row.at(metric::kMemoryGiB), 0);
    EXPECT_FALSE(row.contains(metric::kMemoryPercent)) << "of GPUs alone";
  }
  const auto ranks = nlohmann::json::parse(read_file(folder / "run/machine.json")).at("ranks");
  EXPECT_EQ(ranks, nlohmann::json::parse(R"({"count": 2, "nodes": 1, "zero_stage": 1,
                                             "layout": "data 2 x tensor 1"})"));
}

TEST_F(SessionTest, AResumedRunIsTheSameRun) {
  run("whole");
  fs::create_directories(folder / "resumed" / "checkpoints");
  fs::copy(checkpoint("whole", "step-00000006"), checkpoint("resumed", "step-00000006"),
           fs::copy_options::recursive);
  run("resumed");
  EXPECT_EQ(weights("whole", "step-00000012"), weights("resumed", "step-00000012"));
  EXPECT_EQ(rows("resumed", "train").front().at("step"), 7);
}

TEST_F(SessionTest, AResumedRunWithExpertsIsTheSameRun) {
  config.model.moe.num_experts = 4;
  config.model.moe.top_k = 2;
  config.model.moe.expert_intermediate_size = 24;
  config.model.moe.score = RouterScore::sigmoid;
  config.model.moe.aux_loss_coef = 1e-2;
  config.model.moe.bias_update_rate = 1e-2;  // whose bias is no parameter
  run("whole");
  fs::create_directories(folder / "resumed" / "checkpoints");
  fs::copy(checkpoint("whole", "step-00000006"), checkpoint("resumed", "step-00000006"),
           fs::copy_options::recursive);
  run("resumed");
  EXPECT_EQ(weights("whole", "step-00000012"), weights("resumed", "step-00000012"));
  EXPECT_NE(weights("whole", "step-00000012").find("mlp.router.bias"), std::string::npos);
}

TEST_F(SessionTest, MetricsDoNotDoubleBack) {
  run("run");
  fs::remove_all(checkpoint("run", "step-00000012"));
  run("run");
  const auto steps = rows("run", "train");
  ASSERT_EQ(steps.size(), 12U);
  for (std::size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i].at("step"), i + 1);
}

/// What a run said about its spikes, without the times of its rows.
std::vector<nlohmann::json> spike_rows(std::vector<nlohmann::json> events,
                                       const std::vector<nlohmann::json>& scores) {
  std::erase_if(events, [](const auto& row) { return !row.contains("loss spike"); });
  events.insert(events.end(), scores.begin(), scores.end());
  for (auto& row : events) row.erase("time");
  return events;
}

TEST_F(SessionTest, AResumedRunReportsTheSameSpikes) {
  config.training.steps = 150;
  config.training.seq_len = 8;
  config.training.global_batch_size = 2;
  config.checkpoint.interval = 140;
  config.validation.interval = 150;
  run("run");
  const auto spikes_of = [&] { return spike_rows(rows("run", "event"), rows("run", "spikes")); };
  const auto whole = spikes_of();
  EXPECT_EQ(whole.size(), 6U);  // no event; the first score is defined at step 100
  fs::remove_all(checkpoint("run", "step-00000150"));
  run("run");
  EXPECT_EQ(spikes_of(), whole);

  // Had the loss been high in the three steps before the checkpoint, the first step behind it would
  // have been the end of a spike.
  const fs::path path = folder / "run" / "metrics.jsonl";
  std::string edited;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    auto row = nlohmann::ordered_json::parse(line);
    const std::int64_t step = row.at("step");
    if (row.at("kind") == "train" && 138 <= step && step <= 140) {
      row["loss_metrics/global_avg_loss"] = step == 139 ? 30 : 20;
    }
    edited += row.dump() + "\n";
  }
  write_file(path, edited);
  fs::remove_all(checkpoint("run", "step-00000150"));
  run("run");
  const auto spike = spikes_of().front();
  EXPECT_EQ(spike.at("step"), 141);
  EXPECT_EQ(spike.at("spike/start"), 138);
  EXPECT_EQ(spike.at("spike/peak"), 139);
  EXPECT_EQ(spike.at("spike/steps"), 3);
  EXPECT_EQ(spike.at("spike/first_sample"), 138 * config.training.global_batch_size);
  EXPECT_EQ(spike.at("spike/last_sample"), 139 * config.training.global_batch_size - 1);
}

TEST_F(SessionTest, MicroBatchesDoNotChangeTheGradient) {
  config.training.steps = 1;
  config.training.micro_batch_size = 4;
  run("one");
  config.training.micro_batch_size = 1;
  run("four");
  const auto a = rows("one", "train").front(), b = rows("four", "train").front();
  EXPECT_NEAR(a.at("grad_norm").get<double>(), b.at("grad_norm").get<double>(), 1e-5);
  EXPECT_NEAR(a.at("loss_metrics/global_avg_loss").get<double>(),
              b.at("loss_metrics/global_avg_loss").get<double>(), 1e-5);
}

TEST_F(SessionTest, OneAndTwoThreadsGiveTheSameBits) {
  const int before = num_threads();
  config.training.steps = 6;
  config.training.threads = 1;
  run("one");
  config.training.threads = 2;
  run("two");
  set_num_threads(before);
  EXPECT_EQ(weights("one", "step-00000006"), weights("two", "step-00000006"));
}

TEST_F(SessionTest, ALossThatIsNotFiniteStopsBeforeTheOptimizer) {
  config.optimizer.lr = 1e30;
  const std::string error = error_of_run("run");
  EXPECT_NE(error.find("not finite; stopped before the optimizer step"), std::string::npos)
      << error;
}

TEST_F(SessionTest, RefusesWhatItCannotContinue) {
  fs::create_directories(folder / "taken");
  std::ofstream(folder / "taken" / "notes.txt") << "mine";
  EXPECT_NE(error_of_run("taken").find("exists, and is not a run's folder"), std::string::npos);

  run("run");
  config.training.steps = 20;
  config.checkpoint.resume = Resume::never;
  EXPECT_NE(error_of_run("run").find("checkpoint.resume is 'never'"), std::string::npos);
  config.checkpoint.resume = Resume::automatic;
  config.model.hidden_size = 48;
  EXPECT_NE(error_of_run("run").find("model.hidden_size was 32, the config now says 48"),
            std::string::npos);
  config.checkpoint.resume = Resume::must;
  EXPECT_NE(error_of_run("fresh").find("there is no checkpoint"), std::string::npos);
}

TEST_F(SessionTest, NamesAVocabularyThatIsTooSmall) {
  config.model.vocab_size = 200;
  EXPECT_NE(error_of_run("run").find("has 257 ids, more than model.vocab_size = 200"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "run"));
}

}  // namespace
}  // namespace hg::test
