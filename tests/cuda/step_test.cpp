// What a step on a simulated GPU takes and leaves: waits, memory, checkpoints, what instruments
// see.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/gpu_run.h"
#include "train/layout.h"
#include "train/metrics/metrics.h"
#include "train/safetensors.h"

namespace hg::test {
namespace {

class GpuStep : public GpuRun {
 protected:
  GpuStep() {
    config.training.threads = 1;
    config.training.steps = 4;
    config.training.micro_batch_size = 1;
    config.training.seq_len = 24;
    config.optimizer.lr = 1e-3;
    config.data.validation.clear();
    config.checkpoint.interval = 0;
  }
  cuda_sim::Simulation::Counts count(const std::string& name, std::int64_t steps,
                                     std::int64_t micro_batches) {
    config.training.steps = steps;
    config.training.global_batch_size = micro_batches;
    return run_on_gpus(name, {.devices = 1});
  }
};

TEST_F(GpuStep, TheHostWaitsTwiceAStepWhateverTheMicroBatches) {
  // Once for the losses and once for the gradient's norm, behind all passes and before the update.
  for (const std::int64_t micro_batches : {1, 3}) {
    const auto few = count(fmt::format("few{}", micro_batches), 2, micro_batches),
               more = count(fmt::format("more{}", micro_batches), 5, micro_batches);
    EXPECT_EQ(more.waits - few.waits, 3 * 2) << micro_batches;
    EXPECT_EQ(more.allocations, few.allocations) << micro_batches;
    EXPECT_GT(more.launches, few.launches);
  }
}

TEST_F(GpuStep, AResumedRunHasTheSameBits) {
  config.training.global_batch_size = 2;
  config.checkpoint.interval = 2;
  run_on_gpus("whole", {.devices = 2});
  config.training.steps = 2;
  config.lr_scheduler.decay = ScheduleKind::constant;
  run_on_gpus("parts", {.devices = 2, .seed = 5});
  config.training.steps = 4;
  run_on_gpus("parts", {.devices = 2, .seed = 6});
  config.checkpoint.interval = 4;
  run_on_gpus("at once", {.devices = 2, .seed = 7});
  EXPECT_EQ(weights("parts", "step-00000004"), weights("at once", "step-00000004"));
}

TEST_F(GpuStep, InFp8AResumedRunHasTheSameBits) {
  config.training.precision = Precision::bf16;
  config.training.seq_len = 32;
  config.training.global_batch_size = 2;
  config.lr_scheduler.decay = ScheduleKind::constant;
  for (const Fp8 fp8 : {Fp8::tensor, Fp8::block}) {
    config.training.fp8 = fp8;
    const std::string name(enum_name(fp8));
    config.checkpoint.interval = 2;
    config.training.steps = 2;
    run_on_gpus(name, {.devices = 2, .seed = 5});
    config.training.steps = 4;
    run_on_gpus(name, {.devices = 2, .seed = 6});
    config.checkpoint.interval = 4;
    run_on_gpus(name + " at once", {.devices = 2, .seed = 7});
    EXPECT_EQ(weights(name, "step-00000004"), weights(name + " at once", "step-00000004"));
  }
}

TEST_F(GpuStep, AGpuWithoutFp8IsRefusedByName) {
  config.training.precision = Precision::bf16;
  config.training.seq_len = 32;
  config.training.fp8 = Fp8::tensor;
  try {
    run_on_gpus("run", {.devices = 1, .architecture = 80});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("FP8 from sm_89 on, and a simulated GPU, sm_80"));
  }
  EXPECT_FALSE(fs::exists(folder / "run" / "metrics.jsonl"));
}

TEST_F(GpuStep, SaysWhatItComputedOnAndWhatThatHolds) {
  config.training.steps = 2;
  config.training.global_batch_size = 2;
  config.metrics.instrument_interval = 0;
  run_on_gpus("run", {.devices = 2});
  const StepPlan plan = plan_step(config, detect_cpu(), Mesh::place(layout_of(config, 2), 0));
  const auto row = rows("run", "train").back();
  const double planned = static_cast<double>(plan.total_bytes()) / (1 << 30);
  EXPECT_GE(row.at(metric::kMemoryGiB), planned) << "batches, NCCL and more are beside the plan";
  EXPECT_LT(row.at(metric::kMemoryGiB), planned + 0.01);
  EXPECT_DOUBLE_EQ(row.at(metric::kMemoryPercent),
                   100 * row.at(metric::kMemoryGiB).get<double>() / 8);
  const auto machine = nlohmann::json::parse(read_file(folder / "run/machine.json"));
  EXPECT_EQ(machine.at("gpu"), nlohmann::json::parse(R"({"name": "a simulated GPU",
      "architecture": "sm_90", "memory_bytes": 8589934592,
      "cuda_driver": "13.0", "cuda_runtime": "12.8"})"));
  EXPECT_EQ(machine.at("ranks").at("count"), 2);
  EXPECT_FALSE(machine.at("ranks").at("nccl").get<std::string>().empty());
}

TEST_F(GpuStep, ContinuesWhatTheProcessorBegan) {
  config.training.global_batch_size = 2;
  config.lr_scheduler.decay = ScheduleKind::constant;
  run("cpu");
  config.training.steps = 2;
  run("cuda");
  config.training.steps = 4;
  run_on_gpus("cuda", {.devices = 1});
  expect_same_rows("train", {"loss_metrics/global_avg_loss"}, 1e-5);
  EXPECT_FALSE(rows("cuda", "train").back().contains("mfu(%)")) << "of a GPU that nobody knows";
  const SafetensorsFile cpu(checkpoint("cpu", "step-00000004") / "model.safetensors"),
      cuda(checkpoint("cuda", "step-00000004") / "model.safetensors");
  ASSERT_EQ(cpu.names(), cuda.names());
  for (const std::string& name : cpu.names())
    EXPECT_LT(relative_error(cuda.tensor(name), cpu.tensor(name)), 5e-4) << name;
}

TEST_F(GpuStep, InstrumentsSeeWhatTheySeeOnTheProcessor) {
  config.training.global_batch_size = 2;
  config.metrics.instrument_interval = config.metrics.details_interval = 2;
  run("cpu");
  run_on_gpus("cuda", {.devices = 1, .guard_memory = true});
  const auto cpu = rows("cpu", "instruments"), cuda = rows("cuda", "instruments");
  ASSERT_EQ(cpu.size(), 2U);
  ASSERT_EQ(cuda.size(), cpu.size());
  int compared = 0;
  for (std::size_t i = 0; i < cpu.size(); ++i) {
    for (const auto& [key, value] : cpu[i].items()) {
      if (!value.is_number() || key == "time") continue;
      const double expected = value;
      EXPECT_NEAR(cuda[i].at(key), expected, 2e-3 * std::max(1e-2, std::abs(expected))) << key;
      ++compared;
    }
  }
  EXPECT_GT(compared, 60);
}

TEST_F(GpuStep, PipelinesAreRefused) {
  config.parallelism.pipeline = 2;
  EXPECT_THROW(run_on_gpus("cuda", {.devices = 2}), Error);
}

}  // namespace
}  // namespace hg::test
