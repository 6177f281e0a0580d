// Whole runs on simulated GPUs against the same runs on the processor: the trainer, its kernels,
// its streams and NCCL, through libheadgate_cuda's own sources.
#include <gtest/gtest.h>

#include <cstdlib>

#include "support/ablation_models.h"
#include "support/gpu_run.h"
#include "support/model_variants.h"

namespace hg::test {
namespace {

/// How ranks share a run.
struct CudaLayout {
  int ranks = 1;
  std::int64_t zero = 1, tensor = 1, context = 1, expert = 1;
  bool sequence = false;
  Recompute recompute = Recompute::none;
};

struct CudaCase {
  std::string model = "gated";  // of support/model_variants.h, or FOLDER/FILE of configs/ablations
  CudaLayout layout{};
  Precision precision = Precision::f32;
  Fp8 fp8 = Fp8::off;
  std::int64_t steps = 4;
  std::uint64_t seed = 1;
  bool guarded = false;  // memory of the device
  bool resumed = false;  // halfway
};

void PrintTo(const CudaCase& c, std::ostream* out) {  // CTest shows it
  *out << c.model << " on " << c.layout.ranks << " GPUs";
}

std::string name_of_case(const testing::TestParamInfo<CudaCase>& one) {
  const CudaCase& c = one.param;
  const CudaLayout& l = c.layout;
  const char* const recompute[] = {"", "_cheap", "_recompute"};
  std::string name =
      fmt::format("{}_{}gpus_{}_zero{}_tp{}{}_cp{}_ep{}{}{}_seed{}", c.model, l.ranks,
                  c.fp8 != Fp8::off               ? enum_name(c.fp8)
                  : c.precision == Precision::f32 ? "f32"
                                                  : "bf16",
                  l.zero, l.tensor, l.sequence ? "sp" : "", l.context, l.expert,
                  recompute[static_cast<int>(l.recompute)], c.resumed ? "_resumed" : "", c.seed);
  std::ranges::replace_if(
      name, [](char its) { return its == '/' || its == '-'; }, '_');
  return name;
}

class CudaRun : public GpuRun, public testing::WithParamInterface<CudaCase> {
 protected:
  CudaRun() {
    const CudaCase& c = GetParam();
    config.model.vocab_size = 260;  // divisible by 4
    config.model.head_dim = 8;
    config.model.intermediate_size = 32;
    config.training.steps = c.steps;
    config.training.micro_batch_size = 1;
    config.training.global_batch_size = 2 * sequences_at_a_time();
    config.training.seq_len = c.layout.ranks > 2 ? 8 : 16;
    config.training.precision = c.precision;
    config.training.fp8 = c.fp8;
    config.training.recompute = c.layout.recompute;
    config.training.threads = 1;  // two would wait for each other more than they compute
    config.training.replica_check_interval = 2;
    config.optimizer.lr = 1e-3;
    config.lr_scheduler.decay = ScheduleKind::constant;  // whatever the steps of a resumed run
    config.validation.interval = c.steps / 2;
    config.validation.sequences = 2 * sequences_at_a_time();
    config.checkpoint.interval = c.steps;
    config.metrics.instrument_interval = config.metrics.details_interval = c.steps / 2;
    config.metrics.tensorboard = false;
    if (c.model.find('/') == std::string::npos) {
      choose_model(config.model, c.model);
    } else {
      config.model.num_hidden_layers = 1;
      config.training.global_batch_size = sequences_at_a_time();
      config.training.seq_len = 8;
      choose_ablation(config.model, c.model);
    }
  }

  /// Of the ranks that share no sequence.
  static std::int64_t sequences_at_a_time() {
    const CudaLayout& l = GetParam().layout;
    return l.ranks / (l.tensor * l.context);
  }

  /// By one rank; but a balance loss over the global batch counts what ranks have so far, and so
  /// needs as many of them.
  void run_on_processors() {
    const MoeConfig& moe = config.model.moe;
    if (moe.aux_loss_coef == 0 || moe.load_balance != LoadBalance::global_batch) {
      run("cpu");
      return;
    }
    share_among_ranks();
    run_ranks(GetParam().layout.ranks, [&](Comm& world) {
      train(config, {.folder = folder / "cpu",
                     .resolved_config = to_yaml(config),
                     .console = nullptr,
                     .world = &world,
                     .peak_flops = 0});
    });
  }

  void share_among_ranks() {
    const CudaLayout& l = GetParam().layout;
    config.parallelism = {.pipeline = 1,
                          .pipeline_chunks = 1,
                          .data = std::nullopt,
                          .context = l.context,
                          .tensor = l.tensor,
                          .expert = l.expert,
                          .zero_stage = l.zero,
                          .sequence_parallel = l.sequence};
  }

  void run_on_gpus() {
    const CudaCase& c = GetParam();
    const std::string name = "cuda";
    share_among_ranks();
    cuda_sim::Options machine{.devices = c.layout.ranks, .seed = c.seed, .guard_memory = c.guarded};
    if (c.resumed) {
      config.training.steps = c.steps / 2;
      GpuRun::run_on_gpus(name, machine);
      config.training.steps = c.steps;
      machine.seed += 100;
    }
    GpuRun::run_on_gpus(name, machine);
  }
};

TEST_P(CudaRun, TrainsAsTheProcessorDoes) {
  const bool f32 = GetParam().precision == Precision::f32;
  run_on_processors();
  run_on_gpus();
  expect_same_rows("train", {"loss_metrics/global_avg_loss", "loss_metrics/global_max_loss"},
                   f32 ? 1e-5 : 5e-3);
  expect_same_rows("train", {"grad_norm"}, f32 ? 1e-4 : 5e-2);
  expect_same_rows("val", {"validation_metrics/loss"}, f32 ? 1e-5 : 5e-3);
}

using Cases = std::vector<CudaCase>;

Cases one_gpu() {
  return {
      {.model = "dense", .guarded = true},
      {.model = "gated", .layout = {.recompute = Recompute::block}, .seed = 2},
      {.model = "gated", .precision = Precision::bf16, .steps = 20},
      {.model = "value"},
      {.model = "sinks", .layout = {.recompute = Recompute::cheap}},
      {.model = "moe", .steps = 20, .resumed = true},
      {.model = "moe", .precision = Precision::bf16},
      {.model = "biased", .guarded = true},
  };
}

Cases many_gpus() {
  return {
      {.layout = {.ranks = 2, .zero = 1}, .steps = 20, .seed = 3, .resumed = true},
      {.layout = {.ranks = 4, .zero = 2}, .guarded = true},
      {.layout = {.ranks = 4, .zero = 3}, .precision = Precision::bf16, .resumed = true},
      {.model = "untied", .layout = {.ranks = 2, .zero = 3}, .seed = 4},
      {.layout = {.ranks = 4, .tensor = 2, .sequence = true}},
      {.layout = {.ranks = 4, .zero = 3, .tensor = 2, .context = 2}, .seed = 5},
      {.model = "untied", .layout = {.ranks = 4, .zero = 2, .context = 4}, .guarded = true},
      {.model = "moe", .layout = {.ranks = 2, .zero = 3}},
      {.model = "moe", .layout = {.ranks = 4, .expert = 2}, .resumed = true},
      {.model = "moe", .layout = {.ranks = 4, .context = 2, .expert = 4}, .seed = 6},
      {.model = "biased",
       .layout = {.ranks = 4, .zero = 2, .tensor = 2, .expert = 4, .sequence = true}},
  };
}

/// A mean over all heads is refused where ranks share them.
bool can_run(const std::string& model, const CudaLayout& layout) {
  ModelConfig its;
  choose_ablation(its, model);
  const GateHeads heads = its.attention.gate.heads;
  return layout.tensor == 1 || heads == GateHeads::specific || heads == GateHeads::shared;
}

/// More when somebody wants to be sure: HEADGATE_BF16_STEPS=20.
std::int64_t bf16_steps() {
  const char* text = std::getenv("HEADGATE_BF16_STEPS");
  return text == nullptr ? 4 : std::atoi(text);
}

/// Every file of configs/ablations: 20 steps in f32, and a few in bf16, on layouts that take turns.
Cases ablations_on(const std::vector<std::string>& models, const std::vector<CudaLayout>& layouts) {
  Cases cases;
  const auto layout = [&](const std::string& model, std::size_t i) {
    while (!can_run(model, layouts[i % layouts.size()])) ++i;
    return layouts[i % layouts.size()];
  };
  for (std::size_t i = 0; i < models.size(); ++i) {
    cases.push_back({.model = models[i],
                     .layout = layout(models[i], i),
                     .steps = 20,
                     .seed = i,
                     .resumed = i % 4 == 3});
    cases.push_back({.model = models[i],
                     .layout = layout(models[i], i + layouts.size() / 2),
                     .precision = Precision::bf16,
                     .steps = bf16_steps(),
                     .seed = i});
  }
  return cases;
}

Cases dense_ablations() {
  return ablations_on(ablations("tiny"), {{},
                                          {.ranks = 2, .zero = 0},
                                          {.ranks = 2, .tensor = 2, .sequence = true},
                                          {.ranks = 2, .context = 2},
                                          {.ranks = 2, .zero = 3},
                                          {.recompute = Recompute::cheap},
                                          {.ranks = 2, .tensor = 2},
                                          {.ranks = 2, .zero = 2}});
}
Cases expert_ablations() {
  return ablations_on(ablations("experts"),
                      {{}, {.ranks = 2, .zero = 3}, {.ranks = 2, .expert = 2}});
}

Cases in_fp8() {
  constexpr Precision kBf16 = Precision::bf16;
  return {
      {.model = "gated", .precision = kBf16, .fp8 = Fp8::tensor, .steps = 20, .resumed = true},
      {.model = "gated", .precision = kBf16, .fp8 = Fp8::block, .steps = 20},
      {.model = "dense",
       .layout = {.recompute = Recompute::block},
       .precision = kBf16,
       .fp8 = Fp8::block,
       .guarded = true},
      {.layout = {.ranks = 2, .zero = 1}, .precision = kBf16, .fp8 = Fp8::tensor, .steps = 20},
      {.layout = {.ranks = 2, .zero = 3},
       .precision = kBf16,
       .fp8 = Fp8::block,
       .seed = 2,
       .resumed = true},
      {.layout = {.ranks = 2, .tensor = 2, .sequence = true},
       .precision = kBf16,
       .fp8 = Fp8::tensor,
       .seed = 3},
  };
}

INSTANTIATE_TEST_SUITE_P(Fp8, CudaRun, testing::ValuesIn(in_fp8()), name_of_case);
INSTANTIATE_TEST_SUITE_P(OneGpu, CudaRun, testing::ValuesIn(one_gpu()), name_of_case);
INSTANTIATE_TEST_SUITE_P(ManyGpus, CudaRun, testing::ValuesIn(many_gpus()), name_of_case);
INSTANTIATE_TEST_SUITE_P(Ablations, CudaRun, testing::ValuesIn(dense_ablations()), name_of_case);
INSTANTIATE_TEST_SUITE_P(Experts, CudaRun, testing::ValuesIn(expert_ablations()), name_of_case);

}  // namespace
}  // namespace hg::test
