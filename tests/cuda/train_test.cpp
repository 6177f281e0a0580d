// Whole runs on simulated GPUs against the same runs on the processor: the trainer, its kernels,
// its streams and NCCL, through libheadgate_cuda's own sources.
#include <gtest/gtest.h>

#include "support/gpu_run.h"
#include "support/model_variants.h"

namespace hg::test {
namespace {

struct CudaCase {
  const char* model = "gated";
  int ranks = 1;
  std::int64_t zero = 1, tensor = 1, expert = 1;
  bool sequence = false;
  Precision precision = Precision::f32;
  Recompute recompute = Recompute::none;
  std::uint64_t seed = 1;
  std::int64_t steps = 6;
  bool guarded = false;  // memory of the device
};

void PrintTo(const CudaCase& c, std::ostream* out) {  // CTest shows it
  *out << c.model << " on " << c.ranks << " GPUs";
}

std::string name_of_case(const testing::TestParamInfo<CudaCase>& one) {
  const CudaCase& c = one.param;
  const char* const recompute[] = {"", "_cheap", "_recompute"};
  return fmt::format("{}_{}gpus_{}_zero{}_tp{}{}_ep{}{}_seed{}", c.model, c.ranks,
                     c.precision == Precision::f32 ? "f32" : "bf16", c.zero, c.tensor,
                     c.sequence ? "sp" : "", c.expert, recompute[static_cast<int>(c.recompute)],
                     c.seed);
}

class CudaRun : public GpuRun, public testing::WithParamInterface<CudaCase> {
 protected:
  CudaRun() {
    const CudaCase& c = GetParam();
    config.model.vocab_size = 260;  // divisible by 4
    config.model.num_attention_heads = 8;
    config.model.num_key_value_heads = 4;
    config.model.head_dim = 8;
    config.training.steps = c.steps;
    config.training.micro_batch_size = 1;
    config.training.global_batch_size = 4;
    config.training.seq_len = 24;
    config.training.precision = c.precision;
    config.training.recompute = c.recompute;
    config.training.replica_check_interval = 3;
    config.optimizer.lr = 1e-3;
    config.validation.interval = c.steps;
    config.validation.sequences = 4;
    config.checkpoint.interval = c.steps;
    config.metrics.instrument_interval = 3;
    choose_model(config.model, c.model);
  }

  void run_on_gpus(const std::string& name) {
    const CudaCase& c = GetParam();
    config.parallelism.tensor = c.tensor;
    config.parallelism.expert = c.expert;
    config.parallelism.zero_stage = c.zero;
    config.parallelism.sequence_parallel = c.sequence;
    GpuRun::run_on_gpus(name, {.devices = c.ranks, .seed = c.seed, .guard_memory = c.guarded});
  }
};

TEST_P(CudaRun, TrainsAsTheProcessorDoes) {
  const bool f32 = GetParam().precision == Precision::f32;
  run("cpu");
  run_on_gpus("cuda");
  expect_same_rows("train", {"loss_metrics/global_avg_loss", "loss_metrics/global_max_loss"},
                   f32 ? 1e-5 : 5e-3);
  expect_same_rows("train", {"grad_norm"}, f32 ? 1e-4 : 5e-2);
  expect_same_rows("val", {"validation_metrics/loss"}, f32 ? 1e-5 : 5e-3);
}

constexpr CudaCase kOne[] = {
    {.model = "dense", .steps = 20},
    {.model = "gated", .steps = 20, .guarded = true},
    {.model = "gated", .recompute = Recompute::block, .seed = 2},
    {.model = "gated", .precision = Precision::bf16, .steps = 20},
    {.model = "headwise"},
    {.model = "shared"},
    {.model = "value"},
    {.model = "rotated_key"},
    {.model = "sinks"},
    {.model = "moe", .steps = 20},
    {.model = "moe", .precision = Precision::bf16},
    {.model = "biased", .guarded = true},
};
constexpr CudaCase kMany[] = {
    {.model = "gated", .ranks = 2, .zero = 0},
    {.model = "gated", .ranks = 2, .zero = 1, .seed = 3, .steps = 20},
    {.model = "gated", .ranks = 4, .zero = 2, .guarded = true},
    {.model = "gated", .ranks = 4, .zero = 3, .precision = Precision::bf16},
    {.model = "untied", .ranks = 2, .zero = 3, .seed = 4},
    {.model = "gated", .ranks = 2, .tensor = 2},
    {.model = "gated", .ranks = 4, .tensor = 2, .sequence = true},
    {.model = "moe", .ranks = 2, .zero = 3},
    {.model = "moe", .ranks = 4, .zero = 1, .expert = 2},
    {.model = "biased", .ranks = 4, .zero = 2, .tensor = 2, .expert = 4, .sequence = true},
};
INSTANTIATE_TEST_SUITE_P(OneGpu, CudaRun, testing::ValuesIn(kOne), name_of_case);
INSTANTIATE_TEST_SUITE_P(ManyGpus, CudaRun, testing::ValuesIn(kMany), name_of_case);

}  // namespace
}  // namespace hg::test
