// Everything a run is told: the sections of a config file. Key names follow docs/config.md.
#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include "core/config.h"
#include "model/config.h"
#include "train/guard/guard_config.h"
#include "train/schedule.h"

namespace hg {

/// Element type of weights in use and activations. automatic: bf16 on a GPU, and where the
/// processor multiplies it faster than f32 (AMX), else f32. Master weights, gradients and moments
/// are f32 always.
enum class Precision { automatic, f32, bf16 };
/// What to do with a run folder that already holds a checkpoint.
enum class Resume { automatic, must, never };

template <>
struct EnumNames<Precision> {
  static constexpr std::pair<Precision, std::string_view> values[] = {
      {Precision::automatic, "auto"}, {Precision::f32, "f32"}, {Precision::bf16, "bf16"}};
};
template <>
struct EnumNames<Fp8> {
  static constexpr std::pair<Fp8, std::string_view> values[] = {
      {Fp8::off, "off"}, {Fp8::tensor, "tensor"}, {Fp8::block, "block"}};
};
template <>
struct EnumNames<Device> {
  static constexpr std::pair<Device, std::string_view> values[] = {{Device::cpu, "cpu"},
                                                                   {Device::cuda, "cuda"}};
};
template <>
struct EnumNames<Resume> {
  static constexpr std::pair<Resume, std::string_view> values[] = {
      {Resume::automatic, "auto"}, {Resume::must, "must"}, {Resume::never, "never"}};
};
template <>
struct EnumNames<ScheduleKind> {
  static constexpr std::pair<ScheduleKind, std::string_view> values[] = {
      {ScheduleKind::cosine, "cosine"},
      {ScheduleKind::linear, "linear"},
      {ScheduleKind::wsd, "wsd"},
      {ScheduleKind::constant, "constant"}};
};

struct TrainingConfig {
  std::int64_t steps = 1000;
  std::int64_t seq_len = 1024;
  std::int64_t micro_batch_size = 1;
  std::int64_t global_batch_size = 1;
  double max_grad_norm = 1;
  double z_loss = 0;
  std::int64_t seed = 1;
  Device device = Device::cpu;
  Precision precision = Precision::automatic;
  Fp8 fp8 = Fp8::off;
  Recompute recompute = Recompute::none;
  std::int64_t threads = 0;
  bool cuda_graphs = true;
  std::int64_t replica_check_interval = 0;
  double time_limit = 0;

  void fields(auto&& f) {
    f("steps", steps, "optimizer steps", at_least(1), at_most(1e12));
    f("seq_len", seq_len, "tokens of a sequence", at_least(2), at_most(1e9));
    f("micro_batch_size", micro_batch_size, "sequences of one forward and backward pass",
      at_least(1), at_most(1e6));
    f("global_batch_size", global_batch_size, "sequences of one optimizer step", at_least(1),
      at_most(1e9));
    f("max_grad_norm", max_grad_norm, "the gradient's norm is clipped to this", positive);
    f("z_loss", z_loss, "coefficient of the mean squared logsumexp of the logits", at_least(0.0));
    f("seed", seed, "of initial weights and sample order", at_least(0));
    f("device", device, "what computes: cpu, or cuda, a GPU for each rank");
    f("precision", precision,
      "of weights in use and activations; auto: bf16 on a GPU and with AMX, else f32");
    f("fp8", fp8,
      "of the products of attention and dense MLPs, where precision is bf16: what shares a scale, "
      "a whole tensor or a block of 128");
    f("recompute", recompute, "what backward makes again instead of keeping");
    f("threads", threads, "CPU threads; 0: one per core", at_least(0));
    f("cuda_graphs", cuda_graphs,
      "on GPUs, micro-batches run as CUDA graphs where the host need not act in them");
    f("replica_check_interval", replica_check_interval,
      "steps between comparisons of what several ranks must hold bit for bit; 0: never",
      at_least(0));
    f("time_limit", time_limit,
      "minutes after which the run saves and ends, to be continued; 0: none", at_least(0.0));
  }
  void validate(ConfigProblems& problems) const {
    if (global_batch_size % micro_batch_size != 0) {
      problems.add("global_batch_size", "is {}, not a multiple of micro_batch_size = {}",
                   global_batch_size, micro_batch_size);
    }
    if (fp8 != Fp8::off && precision != Precision::bf16) {
      problems.add("fp8", "is {}, which needs precision: bf16, not {}", enum_name(fp8),
                   enum_name(precision));
    }
  }
  /// Micro-batches that each of `ranks` takes in a step.
  std::int64_t accumulation_steps(std::int64_t ranks) const {
    return global_batch_size / (micro_batch_size * ranks);
  }
};

struct ParallelismConfig {
  std::int64_t pipeline = 1;
  std::int64_t pipeline_chunks = 1;
  std::optional<std::int64_t> data = {};
  std::int64_t context = 1;
  std::int64_t tensor = 1;
  std::int64_t expert = 1;
  std::int64_t zero_stage = 1;
  bool sequence_parallel = false;

  void fields(auto&& f) {
    f("pipeline", pipeline, "stages that share the layers; micro-batches go from one to the next",
      at_least(1), at_most(1e6));
    f("pipeline_chunks", pipeline_chunks,
      "runs of layers of each stage: with more than one, stages take turns and wait less",
      at_least(1), at_most(1e6));
    f("data", data, "ranks that take samples of their own; default: all that the others leave",
      at_least(1), at_most(1e6));
    f("context", context, "ranks that share the tokens of each sequence", at_least(1),
      at_most(1e6));
    f("tensor", tensor, "ranks that share each layer's heads, widths and the vocabulary",
      at_least(1), at_most(1e6));
    f("expert", expert, "ranks that share a layer's experts; neighbours among those of a stage",
      at_least(1), at_most(1e6));
    f("zero_stage", zero_stage,
      "what ranks with the same parameters share: 0 nothing; 1 master weights and moments; 2 also "
      "gradients; "
      "3 also weights",
      at_least(0), at_most(3));
    f("sequence_parallel", sequence_parallel,
      "tensor-parallel ranks share the tokens between their products");
  }
};

struct OptimizerConfig {
  double lr = 3e-4;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;

  void fields(auto&& f) {
    f("lr", lr, "peak learning rate of AdamW", positive);
    f("beta1", beta1, "decay of the first moment", at_least(0.0));
    f("beta2", beta2, "decay of the second moment", at_least(0.0));
    f("eps", eps, "added to the root of the second moment", positive);
    f("weight_decay", weight_decay, "decoupled, times the learning rate; not on norm weights",
      at_least(0.0));
  }
  void validate(ConfigProblems& problems) const {
    if (beta1 >= 1) problems.add("beta1", "is {}, expected less than 1", beta1);
    if (beta2 >= 1) problems.add("beta2", "is {}, expected less than 1", beta2);
  }
};

struct LrSchedulerConfig {
  ScheduleKind decay = ScheduleKind::cosine;
  std::int64_t warmup_steps = 0;
  std::optional<std::int64_t> decay_steps;
  double min_lr = 0;

  void fields(auto&& f) {
    f("decay", decay, "shape behind the warm-up");
    f("warmup_steps", warmup_steps, "steps of linear warm-up", at_least(0));
    f("decay_steps", decay_steps, "length of the last part of wsd; default: a tenth of the run",
      at_least(1));
    f("min_lr", min_lr, "floor of the decay", at_least(0.0));
  }
};

struct DataConfig {
  std::string train;
  std::string validation;
  std::string tokenizer = "byte";

  void fields(auto&& f) {
    f("train", train, "PREFIX of a Megatron pair PREFIX.bin, PREFIX.idx", required);
    f("validation", validation, "PREFIX of the held-out pair; empty: no validation");
    f("tokenizer", tokenizer, "path of a tokenizer.json, or 'byte'");
  }
};

struct ValidationConfig {
  std::int64_t interval = 100;
  std::int64_t sequences = 0;

  void fields(auto&& f) {
    f("interval", interval, "steps between validations; also before the first and behind the last",
      at_least(1));
    f("sequences", sequences,
      "sequences of the held-out set to use, as far as they fill micro-batches; 0: all",
      at_least(0));
  }
};

struct CheckpointConfig {
  std::int64_t interval = 0;
  std::int64_t keep = 2;
  std::int64_t keep_every = 0;
  Resume resume = Resume::automatic;
  std::string init_from;
  bool allow_data_change = false;

  void fields(auto&& f) {
    f("interval", interval, "steps between checkpoints; 0: only at the end", at_least(0));
    f("keep", keep, "newest checkpoints that stay", at_least(1));
    f("keep_every", keep_every, "checkpoints of multiples of so many steps stay, too; 0: none",
      at_least(0));
    f("resume", resume, "auto: continue if the run folder holds a checkpoint; must; never");
    f("init_from", init_from,
      "a run's folder or a checkpoint whose weights a fresh run begins with; empty: none");
    f("allow_data_change", allow_data_change,
      "a resumed run may read other data, or with another tokenizer, than it began with");
  }
};

struct MetricsConfig {
  std::int64_t log_interval = 10;
  std::int64_t instrument_interval = 10;
  std::int64_t details_interval = 100;
  bool tensorboard = true;

  void fields(auto&& f) {
    f("log_interval", log_interval, "steps between console lines; files get every step",
      at_least(1));
    f("instrument_interval", instrument_interval,
      "steps between looks at gates, attention and activations; 0: never", at_least(0));
    f("details_interval", details_interval,
      "steps between looks that also record every head, to instruments.jsonl", at_least(1));
    f("tensorboard", tensorboard, "write TensorBoard event files beside metrics.jsonl");
  }
  void validate(ConfigProblems& problems) const {
    if (instrument_interval > 0 && details_interval % instrument_interval != 0) {
      problems.add("details_interval", "is {}, not a multiple of instrument_interval = {}",
                   details_interval, instrument_interval);
    }
  }
};

struct RunConfig {
  std::string name = "run";
  ModelConfig model;
  TrainingConfig training;
  ParallelismConfig parallelism;
  OptimizerConfig optimizer;
  LrSchedulerConfig lr_scheduler;
  DataConfig data;
  ValidationConfig validation;
  CheckpointConfig checkpoint;
  GuardConfig guard;
  MetricsConfig metrics;

  void fields(auto&& f) {
    f("name", name, "of the run; its folder is runs/NAME unless --run says otherwise");
    f("model", model, "the network");
    f("training", training, "the loop");
    f("parallelism", parallelism, "how ranks share the work");
    f("optimizer", optimizer, "AdamW");
    f("lr_scheduler", lr_scheduler, "learning rate over steps");
    f("data", data, "token files and tokenizer");
    f("validation", validation, "held-out loss");
    f("checkpoint", checkpoint, "saving and resuming");
    f("guard", guard, "what is done about bad steps");
    f("metrics", metrics, "what is logged, and where");
  }
  void validate(ConfigProblems& problems) const {
    if (training.seq_len > model.max_position_embeddings) {
      problems.add("training.seq_len", "is {}, more than model.max_position_embeddings = {}",
                   training.seq_len, model.max_position_embeddings);
    }
    if (lr_scheduler.decay == ScheduleKind::wsd &&
        lr_scheduler.warmup_steps + decay_steps() > training.steps) {
      problems.add("lr_scheduler.decay_steps",
                   "is {}, more than warm-up leaves of training.steps = {}", decay_steps(),
                   training.steps);
    }
    if (validation.sequences > 0 && validation.sequences < training.micro_batch_size) {
      problems.add("validation.sequences",
                   "is {}, less than a micro-batch of {} (training.micro_batch_size), which "
                   "validation runs whole",
                   validation.sequences, training.micro_batch_size);
    }
    if (lr_scheduler.min_lr > optimizer.lr) {
      problems.add("lr_scheduler.min_lr", "is {}, more than optimizer.lr = {}", lr_scheduler.min_lr,
                   optimizer.lr);
    }
    if (guard.rewinds() && checkpoint.interval == 0) {
      problems.add("checkpoint.interval",
                   "is 0: the guard's rewind_and_skip needs checkpoints to go back to");
    }
  }

  std::int64_t decay_steps() const {
    return lr_scheduler.decay_steps.value_or(std::max<std::int64_t>(1, training.steps / 10));
  }
};

// The lists of keys are long to compile; train/config.cpp has the one copy.
extern template config::Keys config::keys_of(const RunConfig&, const std::string&,
                                             std::string_view);

}  // namespace hg
