#include "train/session.h"

#include <nlohmann/json.hpp>
#include <set>

#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"
#include "core/parallel.h"
#include "data/tokenizer.h"
#include "dist/comm_nccl.h"
#include "dist/cpu_share.h"
#include "dist/gather_text.h"
#include "model/flops.h"
#include "train/checkpoint/checkpoint_folder.h"
#include "train/checkpoint/continuity.h"
#include "train/guard/bad_step_hook.h"
#include "train/hooks.h"
#include "train/looks/instruments_hook.h"
#include "train/machine.h"
#include "train/predict/gemm_ceiling.h"
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

/// How many ranks there are, on how many machines, and what each of them does. Collective.
nlohmann::ordered_json facts_of_ranks(const RunConfig& config, const SessionOptions& options,
                                      const Mesh& mesh) {
  const auto hosts = mesh.host == nullptr ? std::vector{host_name()}
                                          : gather_text(*mesh.host, host_name(), "hosts");
  nlohmann::ordered_json facts = {{"count", mesh.world.size},
                                  {"nodes", std::set(hosts.begin(), hosts.end()).size()},
                                  {"layout", mesh.shape().to_string()},
                                  {"zero_stage", config.parallelism.zero_stage}};
  if (mesh.world.size > 1 && config.training.device == Device::cuda) {
    int version = 0;
    (options.gpu.nccl != nullptr ? *options.gpu.nccl : load_nccl()).nccl_version(&version);
    facts["nccl"] = fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  }
  return facts;
}

void write_run_files(const SessionOptions& options, const nlohmann::ordered_json& machine) {
  write_file(options.folder / "config.yaml", options.resolved_config);
  write_file(options.folder / "machine.json", machine.dump(2) + "\n");
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

/// Of one rank.
double peak_flops(const CpuInfo& cpu, const GpuStream* gpu, DType dtype) {
  if (gpu == nullptr) return measure_gemm_ceiling(cpu, dtype);
  const GpuSpecs* specs = specs_of(gpu->description());
  if (specs == nullptr) return 0;
  return dtype == DType::bf16 ? specs->bf16_flops : specs->f32_flops;
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
  const TokenFile train_file(config.data.train, config.model.vocab_size, TokenFile::IdCheck::some);
  std::optional<TokenFile> validation_file;
  if (!config.data.validation.empty())
    validation_file.emplace(config.data.validation, config.model.vocab_size,
                            TokenFile::IdCheck::some);

  const StepPlan plan = plan_step(config, cpu, mesh);
  if (config.lr_scheduler.warmup_steps > config.training.steps) {
    log_warn(
        "lr_scheduler.warmup_steps is {}, training.steps {}: the run ends before its peak rate",
        config.lr_scheduler.warmup_steps, config.training.steps);
  }
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
  nlohmann::ordered_json machine = machine_facts(cpu, gpu.get());
  machine["ranks"] = facts_of_ranks(config, options, mesh);
  if (writes) {
    write_run_files(options, machine);
    keep_losses(options.folder, start.losses_behind);
    sinks = open_sinks(config, options, state.step, progress);
  }

  Trainer trainer(config, *run, loader, state, options.folder / "checkpoints");
  trainer.add(std::make_unique<BadStepHook>(sinks, options.folder,
                                            RunData{train_file, *tokenizer, loader.sampler()}));
  if (writes) {
    trainer.add(std::make_unique<StepMetricsHook>(
        sinks, model_flops_per_token(config.model, *run->whole, config.training.seq_len),
        options.peak_flops ? *options.peak_flops
                           : peak_flops(cpu, gpu.get(), run->store.compute_dtype()),
        gpu));
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
      .last_validation_step = validation != nullptr ? validation->step() : 0,
      .checkpoint = newest_checkpoint(folder.checkpoints(), Inspect::sizes).value_or(fs::path()),
      .finished = trainer.is_finished()};
}

}  // namespace hg
