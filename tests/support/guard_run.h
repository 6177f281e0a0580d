// Small runs in which something goes wrong.
#pragma once

#include "dist/run_ranks.h"
#include "support/faults.h"
#include "support/saved_state.h"
#include "support/small_run.h"

namespace hg::test {

using Hashes = std::vector<StateHashes::Entry>;

/// Runs that begin at step 6 with a history of 100 losses, save at 9, meet a fault in step 11 and
/// end with step 12, each in a second or two.
class GuardRun : public SmallRun {
 protected:
  static constexpr std::int64_t kFaultyStep = 11;

  GuardRun() {
    config.model.vocab_size = 260;
    config.training.micro_batch_size = 1;
    config.training.seq_len = 24;
    config.training.replica_check_interval = 1;
    config.lr_scheduler.decay = ScheduleKind::constant;
    config.metrics.instrument_interval = config.metrics.details_interval = 1;
    config.data.validation.clear();
    config.checkpoint.interval = 6;
    config.training.steps = 6;
  }

  void use_four_ranks() {
    ranks = 4;
    config.parallelism.tensor = 2;
    config.parallelism.zero_stage = 1;
  }

  /// The common beginning.
  void make_base() {
    hashes_of("base", {}, 0);
    edit_state(checkpoint("base", "step-00000006"), [](auto& state) {
      auto& losses = state.at("guard").at("recent_losses");
      EXPECT_EQ(losses.size(), 6U);
      losses.clear();
      for (int i = 0; i < 100; ++i) losses.push_back(5.5 + 0.002 * (i % 9));
    });
    config.checkpoint.interval = 3;
    config.training.steps = 12;
  }

  /// Continues the base as `name`, with a fault; returns what each rank held behind its steps.
  std::vector<Hashes> run_with(const std::string& name, const FaultHook::Options& fault) {
    fs::create_directories(folder / name);
    fs::copy(folder / "base" / "checkpoints", folder / name / "checkpoints",
             fs::copy_options::recursive);
    return hashes_of(name, fault, kFaultyStep);
  }

  std::vector<Hashes> hashes_of(const std::string& name, FaultHook::Options fault,
                                std::int64_t step) {
    if (fault.step == 0) fault.step = step;
    std::vector<Hashes> hashes(static_cast<std::size_t>(ranks));
    const std::string resolved = to_yaml(config);
    run_ranks(ranks, [&](Comm& world) {
      train(config, {.folder = folder / name,
                     .resolved_config = resolved,
                     .console = nullptr,
                     .world = &world,
                     .prepare = [&](Trainer& trainer) {
                       trainer.add(std::make_unique<FaultHook>(fault));
                       trainer.add(std::make_unique<StateHashes>(
                           hashes[static_cast<std::size_t>(world.rank())]));
                     }});
    });
    return hashes;
  }
  std::string error_with(const std::string& name, const FaultHook::Options& fault) {
    try {
      run_with(name, fault);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  /// What metrics.jsonl says of the first bad step.
  std::string bad_step_event(const std::string& name) const {
    for (const auto& row : rows(name, "event"))
      if (row.contains("bad step")) return row.at("bad step");
    return "";
  }
  std::vector<nlohmann::json> lines(const std::string& name, const char* file) const {
    std::vector<nlohmann::json> found;
    std::ifstream in(folder / name / file);
    for (std::string line; std::getline(in, line);) found.push_back(nlohmann::json::parse(line));
    return found;
  }
  /// Every step from `first` on is there once, in metrics.jsonl and in instruments.jsonl.
  void expect_steps_once(const std::string& name, std::int64_t first) const {
    for (const auto& steps : {rows(name, "train"), lines(name, "instruments.jsonl")}) {
      ASSERT_EQ(std::ssize(steps), config.training.steps - first + 1);
      for (std::size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i].at("step"), first + i);
    }
  }

  /// The run `name`, which has gone back from step 11 to 9, went on as a run that begins there with
  /// the samples behind step 11.
  void expect_as_moved(const std::string& name, const std::vector<Hashes>& hashes) {
    fs::create_directories(folder / "moved" / "checkpoints");
    fs::copy(checkpoint(name, "step-00000009"), checkpoint("moved", "step-00000009"),
             fs::copy_options::recursive);
    edit_state(checkpoint("moved", "step-00000009"), [](auto& state) {
      EXPECT_EQ(state.at("samples"), 36);
      state["samples"] = 44;
      state["tokens"] = 44 * 24;
    });
    const auto moved = hashes_of("moved", {.times = 0}, kFaultyStep);
    for (std::size_t rank = 0; rank < moved.size(); ++rank) {
      ASSERT_GT(hashes[rank].size(), 3U);
      EXPECT_EQ(Hashes(hashes[rank].end() - 3, hashes[rank].end()), moved[rank]);
    }
    const fs::path ended = checkpoint(name, "step-00000012"),
                   moved_ended = checkpoint("moved", "step-00000012");
    EXPECT_EQ(saved(ended, "model"), saved(moved_ended, "model"));
    EXPECT_EQ(saved(ended, "optimizer"), saved(moved_ended, "optimizer"));
    EXPECT_EQ(read_file(ended / "state.json"), read_file(moved_ended / "state.json"));
    EXPECT_EQ(last_looks(name), last_looks("moved"));
  }
  /// What instruments saw in the last three steps.
  std::vector<nlohmann::json> last_looks(const std::string& name) const {
    auto looks = rows(name, "instruments");
    for (auto& row : looks) row.erase("time");
    return {looks.end() - 3, looks.end()};
  }

  int ranks = 1;
};

}  // namespace hg::test
