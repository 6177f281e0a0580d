#include "train/session.h"

#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"
#include "core/parallel.h"
#include "data/tokenizer.h"
#include "model/flops.h"
#include "train/bench/bench.h"
#include "train/checkpoint/checkpoint_folder.h"
#include "train/checkpoint/continuity.h"
#include "train/guard/bad_step_hook.h"
#include "train/hooks.h"
#include "train/looks/instruments_hook.h"
#include "train/machine.h"
#include "train/predict/gpu_specs.h"
#include "train/replica_check.h"
#include "train/spikes/spike_hook.h"
#include "train/start.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

void log_plan(const StepPlan& plan, DType dtype, const CpuInfo& cpu) {
  log_info("{} ({}), {} threads, computing in {}", cpu.model, cpu.to_string(), num_threads(),
           name_of(dtype));
  std::string parts;
  for (const auto& part : plan.parameters) {
    parts += fmt::format("{}{} {:.2f}M", parts.empty() ? "" : ", ", part.kind,
                         static_cast<double>(part.numel) / 1e6);
  }
  const double all = static_cast<double>(plan.total_parameters()) / 1e6;
  const double active = plan.active_parameters / 1e6;
  log_info("{:.2f}M parameters{}: {}", all,
           active < all ? fmt::format(", {:.2f}M for each token", active) : "", parts);
  parts.clear();
  for (const auto& part : plan.memory) {
    parts += fmt::format("{}{} {:.1f}", parts.empty() ? "" : ", ", part.name,
                         static_cast<double>(part.bytes) / (1 << 20));
  }
  log_info("{:.1f} MiB allocated once: {}", static_cast<double>(plan.total_bytes()) / (1 << 20),
           parts);
}

/// Elements by kind, and their sum.
std::vector<NamedValue> parameter_counts(const StepPlan& plan) {
  std::vector<NamedValue> counts;
  for (const auto& [kind, numel] : plan.parameters)
    counts.push_back({"parameters/" + kind, static_cast<double>(numel)});
  counts.push_back({"parameters/total", static_cast<double>(plan.total_parameters())});
  counts.push_back({"parameters/active", plan.active_parameters});
  return counts;
}

void write_run_files(const SessionOptions& options, const CpuInfo& cpu) {
  write_file(options.folder / "config.yaml", options.resolved_config);
  write_file(options.folder / "machine.json", machine_facts(cpu).dump(2) + "\n");
}

Sinks open_sinks(const RunConfig& config, const SessionOptions& options, std::int64_t step,
                 Progress& progress) {
  // One that was killed before its first checkpoint begins anew, its rows of step 0 included.
  const std::int64_t kept = step > 0 ? step : -1;
  for (const char* file : {"metrics.jsonl", "instruments.jsonl"})
    drop_rows_after(options.folder / file, kept);
  Sinks sinks;
  sinks.push_back(std::make_unique<JsonLinesSink>(options.folder / "metrics.jsonl"));
  if (config.metrics.tensorboard) {
    sinks.push_back(std::make_unique<TensorBoardSink>(options.folder / "tensorboard", step + 1));
  }
  sinks.push_back(std::make_unique<ConsoleSink>(
      [&progress](const std::string& line) { progress.message(line); },
      config.metrics.log_interval));
  return sinks;
}

double peak_flops(const CpuInfo& cpu, const GpuStream* gpu, DType dtype, int ranks) {
  if (gpu == nullptr) return measure_gemm_ceiling(cpu, dtype);
  const GpuSpecs* specs = specs_of(gpu->description());
  if (specs == nullptr) return 0;
  return ranks * (dtype == DType::bf16 ? specs->bf16_flops : specs->f32_flops);
}

void check_vocabulary(const RunConfig& config, const Tokenizer& tokenizer) {
  HG_CHECK(tokenizer.vocab_size() <= config.model.vocab_size,
           "tokenizer {} has {} ids, more than model.vocab_size = {}", config.data.tokenizer,
           tokenizer.vocab_size(), config.model.vocab_size);
}

}  // namespace

SessionSummary train(const RunConfig& config, const SessionOptions& options) {
  const auto start_time = Clock::now();
  if (config.training.threads > 0) set_num_threads(static_cast<int>(config.training.threads));
  const CpuInfo cpu = detect_cpu();
  const auto gpu = open_gpu(config, options.gpu);
  const RankPlace place(config, options.world, options.gpu, gpu);
  const Mesh& mesh = place.mesh();
  const bool writes = mesh.world.rank == 0;

  const auto tokenizer = load_tokenizer(config.data.tokenizer);
  check_vocabulary(config, *tokenizer);
  const TokenFile train_file(config.data.train, config.model.vocab_size);
  std::optional<TokenFile> validation_file;
  if (!config.data.validation.empty())
    validation_file.emplace(config.data.validation, config.model.vocab_size);

  const StepPlan plan = plan_step(config, cpu, mesh);
  log_plan(plan, compute_dtype(config.training.precision, cpu, config.training.device), cpu);
  const auto run = make_training_model(config, cpu, plan, mesh, gpu);
  Loader loader(train_file, loader_options(config, mesh, 0));
  // What any rank finds wrong with its input leaves no folder behind.
  if (mesh.host != nullptr) mesh.host->barrier("all ranks are ready");
  const RunFolder folder(options.folder, mesh.host);
  const Fingerprints fingerprints =
      fingerprints_of(train_file, validation_file ? &*validation_file : nullptr, *tokenizer);
  Start start = start_run(config, folder, fingerprints, *run);
  const TrainState& state = start.state;

  loader.seek(state.samples);
  // From here on rank 0 writes what others have looked at.
  if (mesh.host != nullptr) mesh.host->barrier("all ranks have begun");
  Progress progress("train", "steps", config.training.steps, writes ? options.console : nullptr,
                    state.step);
  Sinks sinks;
  if (writes) {
    write_run_files(options, cpu);
    keep_losses(options.folder, start.losses_behind);
    sinks = open_sinks(config, options, state.step, progress);
  }

  Trainer trainer(config, *run, loader, state, options.folder / "checkpoints");
  trainer.add(std::make_unique<BadStepHook>(sinks, options.folder,
                                            RunData{train_file, *tokenizer, loader.sampler()}));
  if (writes) {
    trainer.add(std::make_unique<StepMetricsHook>(
        sinks, model_flops_per_token(config.model, *run->whole, config.training.seq_len),
        options.peak_flops
            ? *options.peak_flops
            : peak_flops(cpu, gpu.get(), run->store.compute_dtype(), mesh.world.size)));
  }
  const ValidationHook* validation = nullptr;
  if (validation_file) {
    auto hook = std::make_unique<ValidationHook>(sinks, *validation_file);
    validation = hook.get();
    trainer.add(std::move(hook));
  }
  if (config.metrics.instrument_interval > 0) {
    trainer.add(std::make_unique<InstrumentsHook>(sinks, options.folder, *tokenizer, config, *run));
  }
  if (mesh.world.size > 1) trainer.add(std::make_unique<RankTimesHook>(sinks));
  if (mesh.world.size > 1 && config.training.replica_check_interval > 0)
    trainer.add(std::make_unique<ReplicaCheckHook>());  // what differs must not be saved
  // Before the checkpoint, so that a run which resumes there has the rows of its step.
  if (writes) trainer.add(std::make_unique<SpikeHook>(sinks, options.folder / "metrics.jsonl"));
  if (!start.losses_behind.empty()) {
    trainer.add(std::make_unique<ContinuityHook>(sinks, options.folder,
                                                 std::move(start.losses_behind), start.repeats));
  }
  CheckpointWriter writer(folder.checkpoints(), *run, config, fingerprints);
  trainer.add(std::make_unique<CheckpointHook>(sinks, writer));
  trainer.add(std::make_unique<ProgressHook>(progress));
  if (state.step == 0) write_row(sinks, trainer, "run", parameter_counts(plan));
  trainer.stop_when([&] {
    const double limit = config.training.time_limit;
    return (options.asked_to_stop && options.asked_to_stop()) ||
           (limit > 0 && seconds_since(start_time) > 60 * limit);
  });
  if (options.prepare) options.prepare(trainer);
  trainer.run();

  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  return {
      .steps = trainer.state().step - state.step,
      .tokens = trainer.state().tokens - state.tokens,
      .seconds = seconds_since(start_time),
      .first_validation_loss = validation != nullptr ? validation->first_loss() : kNone,
      .last_validation_loss = validation != nullptr ? validation->loss() : kNone,
      .checkpoint = newest_checkpoint(folder.checkpoints(), Inspect::sizes).value_or(fs::path()),
      .finished = trainer.is_finished()};
}

}  // namespace hg
