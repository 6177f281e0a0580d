// What a run continues from: damaged checkpoints, other data, other weights, losses that must
// repeat.
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>

#include "support/model_variants.h"
#include "support/small_run.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/continuity.h"
#include "train/checkpoint/writer.h"
#include "train/machine.h"
#include "train/metrics/metrics.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

class ContinueTest : public SmallRun {
 protected:
  ContinueTest() {
    config.checkpoint.interval = 4;
    config.checkpoint.keep = 9;
    config.metrics.instrument_interval = 0;
    config.metrics.tensorboard = false;
  }
  /// As if the run had been killed behind this checkpoint, with its metrics as they were.
  void forget_behind(const std::string& name, std::int64_t step) const {
    for (const fs::path& path : list_checkpoints(folder / name / "checkpoints"))
      if (step_of_checkpoint(path) > step) fs::remove_all(path);
  }
  std::string event(const std::string& name, const char* key) const {
    for (const auto& row : rows(name, "event"))
      if (row.contains(key)) return row.at(key);
    return "";
  }
};

TEST_F(ContinueTest, DamagedCheckpointsAreSetAside) {
  run("run");
  const std::string whole = weights("run", "step-00000012");
  fs::resize_file(checkpoint("run", "step-00000012") / "model.safetensors", 999);
  fs::remove(checkpoint("run", "step-00000008") / "state.json");
  run("run");
  EXPECT_EQ(rows("run", "train").size(), 12U);
  EXPECT_EQ(weights("run", "step-00000012"), whole);
  EXPECT_TRUE(fs::exists(checkpoint("run", "damaged-step-00000008")));
  EXPECT_TRUE(fs::exists(checkpoint("run", "damaged-step-00000012")));
}

TEST_F(ContinueTest, ARunKilledBeforeItsFirstCheckpointBeginsAnew) {
  run("run");
  const std::string whole = weights("run", "step-00000012");
  forget_behind("run", 0);
  run("run");
  EXPECT_EQ(weights("run", "step-00000012"), whole);
  EXPECT_EQ(rows("run", "train").size(), 12U);
  EXPECT_EQ(rows("run", "run").size(), 1U);
  EXPECT_EQ(rows("run", "val").size(), 3U);  // before the first step, in the middle, at the end
}

TEST_F(ContinueTest, ARunWithoutAnyGoodCheckpointIsNotOverwritten) {
  run("run");
  for (const fs::path& path : list_checkpoints(folder / "run" / "checkpoints"))
    fs::resize_file(path / "optimizer.safetensors", 10);
  EXPECT_THAT(error_of_run("run"), HasSubstr("all 3 checkpoints are damaged, the newest: "));
  EXPECT_EQ(list_checkpoints(folder / "run" / "checkpoints").size(), 3U);
  EXPECT_EQ(rows("run", "train").size(), 12U);
}

TEST_F(ContinueTest, AForeignCheckpointIsNamed) {
  run("run");
  config.model.hidden_size = 48;
  run("other");
  fs::remove_all(checkpoint("run", "step-00000012"));
  fs::copy(checkpoint("other", "step-00000012"), checkpoint("run", "step-00000012"));
  config.model.hidden_size = 32;
  EXPECT_THAT(error_of_run("run"), HasSubstr("model.hidden_size was 48, the config now says 32"));
}

TEST_F(ContinueTest, OtherDataUnderTheSameNameIsNoticed) {
  run("run");
  forget_behind("run", 8);
  std::fstream tokens(config.data.train + ".bin", std::ios::in | std::ios::out | std::ios::binary);
  tokens.seekp(100);
  tokens.put(7);
  tokens.close();
  EXPECT_THAT(error_of_run("run"), HasSubstr("the content of data.train has changed since"));
  config.checkpoint.allow_data_change = true;
  EXPECT_EQ(error_of_run("run"), "");
}

TEST_F(ContinueTest, DataMayMove) {
  run("run");
  forget_behind("run", 8);
  for (const char* end : {".bin", ".idx"})
    fs::rename(config.data.train + end, (folder / "moved").string() + end);
  config.data.train = (folder / "moved").string();
  EXPECT_EQ(error_of_run("run"), "");
  EXPECT_EQ(rows("run", "train").size(), 12U);
}

TEST_F(ContinueTest, LossesRepeatBitForBit) {
  run("run");
  forget_behind("run", 4);
  run("run");
  EXPECT_EQ(event("run", "resumed"),
            "8 steps computed once more have the losses that they had, bit for bit");
}

TEST_F(ContinueTest, ALossThatDoesNotRepeatIsNoticed) {
  run("run");
  const fs::path metrics = folder / "run" / "metrics.jsonl";
  const auto put_loss = [&](std::int64_t step, double factor) {
    std::string edited;
    std::ifstream file(metrics);
    for (std::string line; std::getline(file, line);) {
      auto row = nlohmann::ordered_json::parse(line);
      if (row.at("kind") == "train" && row.at("step") == step)
        row[metric::kLoss] = factor * row.at(metric::kLoss).get<double>();
      edited += row.dump() + "\n";
    }
    write_file(metrics, edited);
  };
  forget_behind("run", 8);
  put_loss(10, 1 + 1e-9);
  run("run");
  EXPECT_THAT(event("run", "resumed"), HasSubstr("step 10: the loss is "));
  EXPECT_THAT(event("run", "resumed"), HasSubstr("where bits should repeat"));
  forget_behind("run", 8);
  put_loss(9, 1.5);
  // A start that has failed is no proof for the next one, which knows what the run had logged.
  for (int start = 0; start < 2; ++start)
    EXPECT_THAT(error_of_run("run"), HasSubstr("the checkpoint, the data or the machine is not "
                                               "what it was; remove "));
  EXPECT_TRUE(fs::remove(folder / "run" / kInterruptedLosses));
  EXPECT_EQ(error_of_run("run"), "");
  EXPECT_FALSE(fs::exists(folder / "run" / kInterruptedLosses));
}

TEST_F(ContinueTest, LossesOfOtherDataAreNotCompared) {
  run("run");
  forget_behind("run", 8);
  const fs::path tokens = folder / "tokens_validation";
  for (const char* end : {".bin", ".idx"})
    fs::copy_file(tokens.string() + end, config.data.train + end,
                  fs::copy_options::overwrite_existing);
  config.checkpoint.allow_data_change = true;
  EXPECT_EQ(error_of_run("run"), "");
  EXPECT_EQ(event("run", "resumed"), "");
}

TEST(LossesBehind, EndWhereTheSamplesAreOthers) {
  const TempFolder folder;
  const auto line = [](std::int64_t step, std::int64_t tokens, double loss) {
    return nlohmann::json{{"step", step}, {"tokens", tokens}, {"loss", loss}}.dump() + "\n";
  };
  const auto losses = [&] {
    std::vector<double> found;
    for (const LossPoint& point : losses_behind(folder.path(), {.step = 4, .tokens = 40}, 10))
      found.push_back(point.loss);
    return found;
  };
  EXPECT_EQ(losses(), std::vector<double>());
  write_file(folder / "metrics.jsonl",
             line(4, 40, 1) + line(5, 50, 2) + line(6, 60, 3) + line(7, 80, 4) + line(8, 80, 5));
  EXPECT_EQ(losses(), (std::vector<double>{2, 3}));
  // What was kept counts; steps that it has not are those of the run.
  const LossPoint kept{.step = 5, .loss = 2.1 + 1e-15, .tokens = 50};
  keep_losses(folder.path(), {&kept, 1});
  EXPECT_EQ(losses(), (std::vector<double>{kept.loss, 3}));
  keep_losses(folder.path(), {});
  EXPECT_EQ(losses(), (std::vector<double>{2, 3}));
}

TEST_F(ContinueTest, AFreshRunMayBeginWithWeights) {
  run("first");
  config.checkpoint.init_from = (folder / "first").string();
  config.training.seed = 7;
  const SessionSummary second = run("second");
  EXPECT_NEAR(second.first_validation_loss, rows("first", "val").back().at(metric::kValidationLoss),
              1e-12);
  EXPECT_EQ(rows("second", "train").front().at("step"), 1);
  config.checkpoint.init_from = (folder / "nowhere").string();
  EXPECT_THAT(error_of_run("third"), HasSubstr("is neither a checkpoint nor a run with one"));
}

TEST_F(ContinueTest, GatesThatAreNotInTheWeightsStayAsDrawn) {
  const ModelConfig gated = config.model;
  choose_model(config.model, "dense");
  run("ungated");
  config.model = gated;
  config.training.steps = 1;
  config.optimizer.lr = 1e-30;  // leaves the weights as they are
  config.checkpoint.interval = 1;
  run("fresh");
  config.checkpoint.init_from = (folder / "ungated").string();
  run("gated");
  RunModel model(config.model, Device::cpu, detect_cpu());
  model.store.allocate(Device::cpu, DType::f32, ParamStore::Purpose::inference);
  const SavedTensors from(checkpoint("ungated", "step-00000012"), "model"),
      fresh(checkpoint("fresh", "step-00000001"), "model"),
      made(checkpoint("gated", "step-00000001"), "model");
  std::int64_t drawn = 0, taken = 0;
  for (const ParamSpec& spec : model.store.specs()) {
    const auto old = from.whole(spec.name), random = fresh.whole(spec.name),
               now = made.whole(spec.name);
    std::size_t at = 0;
    for_parts(spec, [&](const ParamSpec::Part& part, std::int64_t begin, std::int64_t end) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        const bool gate = part.kind == "gate";
        EXPECT_EQ(now[i], gate ? random[i] : old[at]) << spec.name << " " << part.kind;
        if (!gate) ++at;
        ++(gate ? drawn : taken);
      }
    });
    EXPECT_EQ(at, old.size()) << spec.name;
  }
  EXPECT_GT(drawn, 1000);
  EXPECT_GT(taken, 10000);

  config.model.intermediate_size = 96;
  EXPECT_THAT(error_of_run("wider"), HasSubstr("differs in its gates alone"));
}

TEST_F(ContinueTest, WeightsOfAnotherModelAreNotTaken) {
  run("first");
  config.checkpoint.init_from = (folder / "first").string();
  config.model.num_hidden_layers = 1;
  EXPECT_THAT(error_of_run("shallow"), HasSubstr("model.num_hidden_layers is 2 there and 1 here"));
  config.model.num_hidden_layers = 2;
  config.model.rope_theta = 77;
  EXPECT_THAT(error_of_run("turned"), HasSubstr("model.rope_theta is 10000 there and 77 here"));
  config.model.rope_theta = 10000;
  config.model.initializer_range = 0.01;  // says how weights are drawn
  config.training.steps = 1;
  EXPECT_EQ(error_of_run("same"), "");
}

TEST_F(ContinueTest, BiasesOfRoutersComeWithTheWeights) {
  choose_model(config.model, "biased");
  run("first");
  const fs::path from = checkpoint("first", "step-00000012");
  RunModel model(config.model, Device::cpu, detect_cpu());
  model.store.allocate(Device::cpu, DType::f32, ParamStore::Purpose::training);
  model.store.initialize(7);
  load_weights(from, model);
  const SavedTensors saved(from, "model");
  std::size_t biases = 0;
  for (const Buffer& buffer : model.store.buffers()) {
    if (!buffer.spec.saved) continue;
    ++biases;
    const auto expected = saved.whole(buffer.spec.name);
    EXPECT_GT(*std::ranges::max_element(expected), 0) << buffer.spec.name;
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_EQ(buffer.values.as<float>()[i], expected[i]) << buffer.spec.name;
  }
  EXPECT_EQ(biases, 2U);  // of two layers

  config.checkpoint.init_from = from.string();
  config.model.moe.bias_update_rate = 0;
  EXPECT_THAT(error_of_run("unbiased"), HasSubstr("router.bias' is there and not here"));
}

TEST_F(ContinueTest, MemoryReturnsAfterEachSave) {
  config.model.hidden_size = 256;
  config.model.vocab_size = 4096;
  RunModel large(config.model, Device::cpu, detect_cpu());
  large.store.allocate(Device::cpu, DType::f32, ParamStore::Purpose::training);
  large.store.initialize(1);
  CheckpointWriter writer(folder / "saves", large, config, {});
  TrainState state;
  const auto save = [&] {
    ++state.step;
    writer.save(state);
    const std::size_t bytes = writer.finish()->bytes;
    EXPECT_GT(bytes, std::size_t{10} << 20);
  };
  for (int i = 0; i < 3; ++i) save();
  const std::int64_t before = rss_bytes();
  for (int i = 0; i < 100; ++i) save();
  EXPECT_LT(rss_bytes() - before, 4 << 20);
  EXPECT_EQ(list_checkpoints(folder / "saves").size(), 9U);
}

}  // namespace
}  // namespace hg::test
