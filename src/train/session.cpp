#include "train/session.h"

#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"
#include "core/parallel.h"
#include "data/tokenizer.h"
#include "dist/comm_nccl.h"
#include "model/flops.h"
#include "train/bench/bench.h"
#include "train/checkpoint.h"
#include "train/hooks.h"
#include "train/layout.h"
#include "train/looks/instruments_hook.h"
#include "train/machine.h"
#include "train/predict/gpu_specs.h"
#include "train/replica_check.h"
#include "train/spikes/spike_hook.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

/// The checkpoint to continue from, or nothing for a fresh run; refuses a folder that is neither.
std::optional<fs::path> choose_start(const RunConfig& config, const fs::path& folder) {
  const auto newest = newest_checkpoint(folder / "checkpoints");
  const Resume resume = config.checkpoint.resume;
  HG_CHECK(resume != Resume::must || newest,
           "{}: checkpoint.resume is 'must', and there is no checkpoint",
           (folder / "checkpoints").string());
  HG_CHECK(newest || !fs::exists(folder) || fs::is_empty(folder),
           "{}: the run folder exists and holds no checkpoint to continue from; remove it, or name "
           "another "
           "with --run",
           folder.string());
  HG_CHECK(resume != Resume::never || !newest,
           "{}: the run folder holds {}, and checkpoint.resume is 'never'; name another with --run",
           folder.string(), newest->filename().string());
  return newest;
}

/// What a resumed run may not change: the model is in the checkpoint's tensors, the data order in
/// its count.
void check_same_run(const RunConfig& config, const fs::path& checkpoint) {
  const fs::path path = checkpoint / "config.yaml";
  const auto saved = parse_config<RunConfig>(read_file(path), path.string()).value;
  for (const auto& [key, before, now] : differences(saved, config)) {
    const bool fixed = key.starts_with("model.") || key == "training.seed" ||
                       key == "training.seq_len" || key == "data.train" || key == "data.tokenizer";
    HG_CHECK(!fixed, "{}: {} was {}, the config now says {}; a resumed run cannot change it",
             path.string(), key, before, now);
    log_info("{} was {} in the checkpoint, is now {}", key, before, now);
  }
}

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
  for (const char* file : {"metrics.jsonl", "instruments.jsonl"})
    drop_rows_after(options.folder / file, step);
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

/// The rank's GPU, if the run is to compute on one.
std::shared_ptr<GpuStream> open_gpu(const RunConfig& config, const GpuOptions& options) {
  if (config.training.device != Device::cuda) return nullptr;
  HG_CHECK(config.parallelism.pipeline == 1,
           "training.device cuda does not do pipelines yet: parallelism.pipeline is {}, expected 1",
           config.parallelism.pipeline);
  const GpuModule& module = options.module != nullptr ? *options.module : load_gpu_module();
  auto gpu = module.open(options.device);
  log_info("GPU {}: {}", options.device, gpu->description());
  return gpu;
}

/// NCCL's worlds of all ranks, one for each of two streams.
GpuWorlds connect_gpus(Comm& host, const std::shared_ptr<GpuStream>& gpu,
                       const GpuOptions& options) {
  const NcclApi& nccl = options.nccl != nullptr ? *options.nccl : load_nccl();
  GpuWorlds worlds{
      .compute = gpu, .background = gpu->another(), .world = {}, .background_world = {}};
  const auto connect = [&](const GpuStream& stream) {
    return nccl_world(nccl, peers_over(host),
                      {.device = stream.device(), .stream = stream.handle()});
  };
  worlds.world = connect(*worlds.compute);
  worlds.background_world = connect(*worlds.background);
  return worlds;
}

/// Where this rank stands, and what it talks through.
class RankPlace {
 public:
  RankPlace(const RunConfig& config, const SessionOptions& options,
            const std::shared_ptr<GpuStream>& gpu) {
    Comm* world = options.world;
    const MeshShape shape = layout_of(config, world == nullptr ? 1 : world->size());
    if (world == nullptr || world->size() == 1) return;
    comms_.emplace(*world, shape, gpu ? connect_gpus(*world, gpu, options.gpu) : GpuWorlds());
    mesh_ = comms_->mesh();
    log_info("{} ranks: {}, ZeRO stage {}", shape.size(), shape.to_string(),
             config.parallelism.zero_stage);
  }
  const Mesh& mesh() const { return mesh_; }

 private:
  std::optional<MeshComms> comms_;
  Mesh mesh_;
};

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
  const RankPlace place(config, options, gpu);
  const Mesh& mesh = place.mesh();
  const bool writes = mesh.world.rank == 0;
  const auto checkpoint = choose_start(config, options.folder);
  if (checkpoint) check_same_run(config, *checkpoint);

  const auto tokenizer = load_tokenizer(config.data.tokenizer);
  check_vocabulary(config, *tokenizer);
  const TokenFile train_file(config.data.train, config.model.vocab_size);
  std::optional<TokenFile> validation_file;
  if (!config.data.validation.empty())
    validation_file.emplace(config.data.validation, config.model.vocab_size);

  const StepPlan plan = plan_step(config, cpu, mesh);
  log_plan(plan, compute_dtype(config.training.precision, cpu, config.training.device), cpu);
  const auto run = make_training_model(config, cpu, plan, mesh, gpu);
  TrainState state;
  if (checkpoint) {
    state = load_checkpoint(*checkpoint, *run);
    log_info("continuing from {} at step {}", checkpoint->string(), state.step);
  } else {
    run->store.initialize(static_cast<std::uint64_t>(config.training.seed));
    run->store.publish(run->ctx);
  }

  Loader loader(train_file, {.seed = static_cast<std::uint64_t>(config.training.seed),
                             .seq_len = config.training.seq_len,
                             .sequences = config.training.micro_batch_size,
                             .first_sample = state.samples,
                             .order = SampleOrder::random,
                             .rank = mesh.data.rank,
                             .ranks = mesh.data.size,
                             .part = mesh.context.rank,
                             .parts = mesh.context.size});
  // From here on rank 0 writes what others have looked at.
  if (mesh.host != nullptr) mesh.host->barrier("all ranks are ready");
  Progress progress("train", "steps", config.training.steps, writes ? options.console : nullptr,
                    state.step);
  Sinks sinks;
  if (writes) {
    fs::create_directories(options.folder);
    write_run_files(options, cpu);
    sinks = open_sinks(config, options, state.step, progress);
  }

  Trainer trainer(config, *run, loader, state);
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
  trainer.add(std::make_unique<CheckpointHook>(sinks, options.folder / "checkpoints"));
  trainer.add(std::make_unique<ProgressHook>(progress));
  write_row(sinks, trainer, "run", parameter_counts(plan));
  trainer.run();

  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  return {.steps = trainer.state().step - state.step,
          .tokens = trainer.state().tokens - state.tokens,
          .seconds = seconds_since(start_time),
          .first_validation_loss = validation != nullptr ? validation->first_loss() : kNone,
          .last_validation_loss = validation != nullptr ? validation->loss() : kNone,
          .checkpoint = newest_checkpoint(options.folder / "checkpoints").value_or(fs::path())};
}

}  // namespace hg
