// Repeats steps of a run.
#include "train/guard/replay.h"

#include <cmath>

#include "core/file.h"
#include "core/log.h"
#include "core/parallel.h"
#include "train/checkpoint/checkpoint.h"
#include "train/guard/bad_step_hook.h"
#include "train/rank_place.h"
#include "train/start.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

bool same(double a, double b) { return a == b || (!std::isfinite(a) && !std::isfinite(b)); }

StepNumbers numbers_of(const RecordedStep& step) {
  return {.loss = step.loss, .grad_norm = step.grad_norm};
}

RunConfig config_of(const fs::path& folder) {
  const fs::path path = folder / "config.yaml";
  RunConfig config = parse_config<RunConfig>(read_file(path), path.string()).value;
  config.metrics.instrument_interval = 0;
  return config;
}

/// What a replay is made with.
struct Machine {
  CpuInfo cpu;
  std::shared_ptr<GpuStream> gpu;
  const Mesh& mesh;
  const TokenFile& file;
};

/// The results of the steps behind the record's start, to `step`.
std::vector<StepResult> run_steps(RunConfig config, const StepRecord& record, std::int64_t step,
                                  const Machine& machine) {
  const auto run = make_training_model(
      config, machine.cpu, plan_step(config, machine.cpu, machine.mesh), machine.mesh, machine.gpu);
  TrainState state;
  if (!record.checkpoint.empty()) {
    state = load_checkpoint(record.checkpoint, *run).state;
  } else {
    begin_fresh(config, *run);
  }
  state.samples = record.first_sample_of(state.step + 1, step, config.training.global_batch_size);
  state.tokens = state.samples * config.training.seq_len;
  state.guard.cooldown = 0;
  Loader loader(machine.file, loader_options(config, machine.mesh, state.samples));
  // The record decides which updates are skipped, whatever is met now.
  config.guard = {.not_finite = NotFinitePolicy::skip_update,
                  .spike_z = config.guard.spike_z,
                  .max_skips = step};
  const std::int64_t first = state.step + 1;
  Trainer trainer(config, *run, loader, std::move(state));
  std::vector<StepResult> results;
  for (std::int64_t now = first; now <= step; ++now) {
    const auto earlier = record.earlier.find(now);
    const bool skipped = earlier != record.earlier.end() && earlier->second.skipped;
    config.guard.spike = skipped ? SpikePolicy::skip_update : SpikePolicy::log;
    results.push_back(trainer.step());
  }
  return results;
}

void compare_earlier(Replay& replay, const std::vector<StepResult>& first,
                     const std::vector<StepResult>& second) {
  for (std::size_t i = 0; i + 1 < first.size(); ++i) {
    const auto found = replay.record.earlier.find(first[i].step);
    if (found == replay.record.earlier.end()) continue;
    const StepNumbers recorded = numbers_of(found->second);
    if (recorded.same_as({first[i].loss, first[i].grad_norm}) &&
        recorded.same_as({second[i].loss, second[i].grad_norm})) {
      ++replay.agree;
    } else if (replay.first_other == 0) {
      replay.first_other = found->first;
    }
  }
}

}  // namespace

bool StepNumbers::same_as(const StepNumbers& other) const {
  return same(loss, other.loss) && same(grad_norm, other.grad_norm);
}

Replay::Outcome Replay::outcome() const {
  if (!first.same_as(second)) return Outcome::differs;
  return first.same_as(recorded) ? Outcome::repeats : Outcome::not_recorded;
}

std::string Replay::sentence() const {
  switch (outcome()) {
    case Outcome::repeats:
      return "it repeats bit for bit: the data or the weights are the cause, not the hardware";
    case Outcome::differs:
      return "it does not repeat: the two replays differ from each other, by faulty hardware or an "
             "order of additions that is not fixed";
    case Outcome::not_recorded:
      break;
  }
  const std::string start = "it does not repeat: both replays have the same, the record has not; ";
  if (first_other > 0) {
    return start + fmt::format(
                       "step {} is already another, so this may be another number of ranks, "
                       "processor, program or config",
                       first_other);
  }
  return start + (agree > 0
                      ? fmt::format("the {} recorded steps before it do repeat, so this was a "
                                    "fault of the moment: suspect the hardware",
                                    agree)
                      : "suspect the hardware, if ranks, processor, program and config are "
                        "those of the run");
}

Replay replay(const ReplayOptions& options) {
  const RunConfig config = config_of(options.folder);
  if (config.training.threads > 0) set_num_threads(static_cast<int>(config.training.threads));
  Replay result;
  result.record = find_step_record(config, options.folder, options.step);
  const StepRecord& record = result.record;
  result.recorded = numbers_of(record.recorded);
  result.last_sample = record.first_sample + config.training.global_batch_size - 1;
  if (!record.checkpoint.empty()) result.config = differences(config_of(record.checkpoint), config);

  const TokenFile file(config.data.train, config.model.vocab_size, TokenFile::IdCheck::some);
  const auto gpu = open_gpu(config, options.gpu);
  const RankPlace place(config, options.world, options.gpu, gpu);
  const Machine machine{.cpu = detect_cpu(), .gpu = gpu, .mesh = place.mesh(), .file = file};
  log_info("steps {} to {} twice, from {}", record.start + 1, options.step,
           record.checkpoint.empty() ? "the initial weights" : record.checkpoint.string());
  const auto first = run_steps(config, record, options.step, machine);
  const auto second = run_steps(config, record, options.step, machine);
  result.first = {first.back().loss, first.back().grad_norm};
  result.second = {second.back().loss, second.back().grad_norm};
  compare_earlier(result, first, second);

  const auto tokenizer = load_tokenizer(config.data.tokenizer);
  const Sampler sampler(file, config.training.seq_len,
                        static_cast<std::uint64_t>(config.training.seed), SampleOrder::random);
  result.documents = decode_documents({file, *tokenizer, sampler}, first.back().worst_sample,
                                      config.training.micro_batch_size);
  return result;
}

}  // namespace hg
