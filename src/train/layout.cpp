#include "train/layout.h"

namespace hg {
namespace {

/// Collects sentences about what does not fit.
class Misfits {
 public:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    text_ += (text_.empty() ? "" : "\n") + fmt::format(format, std::forward<Args>(args)...);
  }
  /// `what` of `value` must divide by `parts`, which `key` says.
  void divide(const char* what, std::int64_t value, const char* key, std::int64_t parts) {
    if (value % parts != 0) add("{} = {} does not divide by {} = {}", what, value, key, parts);
  }
  void check() const { HG_CHECK(text_.empty(), "{}", text_); }

 private:
  std::string text_;
};

bool balances_documents(const ModelConfig& model) {
  return model.moe.num_experts > 0 && model.moe.aux_loss_coef > 0 &&
         model.moe.load_balance == LoadBalance::sequence;
}

void check_tensor(const RunConfig& config, Misfits& misfits) {
  const ModelConfig& model = config.model;
  const std::int64_t tensor = config.parallelism.tensor;
  constexpr const char* kKey = "parallelism.tensor";
  misfits.divide("model.num_key_value_heads", model.num_key_value_heads, kKey, tensor);
  misfits.divide("model.vocab_size", model.vocab_size, kKey, tensor);
  if (model.has_dense_layers())
    misfits.divide("model.intermediate_size", model.intermediate_size, kKey, tensor);
  const GateConfig& gate = model.attention.gate;
  if (gate.heads == GateHeads::mean_scores || gate.heads == GateHeads::mean_logits)
    misfits.add("model.attention.gate.heads is a mean over all heads, which {} = {} takes apart",
                kKey, tensor);
  if (gate.at(GatePosition::output))
    misfits.add(
        "model.attention.gate.position is output, behind the sum over all heads, which {} = "
        "{} takes apart",
        kKey, tensor);
  if (balances_documents(model))
    misfits.add(
        "model.moe.load_balance is sequence, but with {} = {} no rank routes whole documents", kKey,
        tensor);
  const std::int64_t tokens = config.training.micro_batch_size * config.training.seq_len;
  if (config.parallelism.sequence_parallel)
    misfits.divide("the tokens of a micro-batch", tokens, kKey, tensor);
  if (model.moe.num_experts > 0 && !config.parallelism.sequence_parallel)
    misfits.add(
        "experts with {} = {} need parallelism.sequence_parallel: true, or each token would "
        "be routed on every one of these ranks",
        kKey, tensor);
}

void check_pipeline(const RunConfig& config, std::int64_t data, Misfits& misfits) {
  const std::int64_t stages = config.parallelism.pipeline;
  const std::int64_t chunks = config.parallelism.pipeline_chunks;
  if (stages * chunks > config.model.num_hidden_layers)
    misfits.add(
        "model.num_hidden_layers = {} is less than parallelism.pipeline x pipeline_chunks = {}",
        config.model.num_hidden_layers, stages * chunks);
  if (chunks == 1) return;
  if (stages == 1)
    misfits.add("parallelism.pipeline_chunks = {}, but parallelism.pipeline is 1", chunks);
  misfits.divide("the number of a step's micro-batches", config.training.accumulation_steps(data),
                 "parallelism.pipeline, which pipeline_chunks > 1 needs,", stages);
}

void check_context(const RunConfig& config, Misfits& misfits) {
  const ModelConfig& model = config.model;
  const std::int64_t context = config.parallelism.context, tensor = config.parallelism.tensor;
  const std::int64_t tokens = config.training.micro_batch_size * config.training.seq_len;
  if (config.parallelism.sequence_parallel) {
    misfits.divide("the tokens of a micro-batch", tokens, "2 x parallelism.context x tensor",
                   2 * context * tensor);
  } else {
    misfits.divide("the tokens of a micro-batch", tokens, "2 x parallelism.context", 2 * context);
  }
  if (balances_documents(model))
    misfits.add(
        "model.moe.load_balance is sequence, but with parallelism.context = {} no rank routes "
        "whole documents",
        context);
}

}  // namespace

MeshShape layout_of(const RunConfig& config, int ranks) {
  const ParallelismConfig& parallelism = config.parallelism;
  const std::int64_t tensor = parallelism.tensor, expert = parallelism.expert;
  const std::int64_t model = parallelism.pipeline * parallelism.context * tensor;
  Misfits misfits;
  misfits.divide("the number of ranks", ranks, "parallelism.pipeline x context x tensor", model);
  misfits.check();
  const std::int64_t data = parallelism.data.value_or(ranks / model);
  if (data * model != ranks)
    misfits.add(
        "parallelism.data = {} x pipeline x context x tensor = {} is {} ranks, but {} {} started",
        data, model, data * model, ranks, ranks == 1 ? "was" : "were");
  misfits.divide("training.global_batch_size", config.training.global_batch_size,
                 "training.micro_batch_size x data-parallel ranks",
                 config.training.micro_batch_size * data);
  check_pipeline(config, data, misfits);
  if (parallelism.context > 1) check_context(config, misfits);
  if (tensor > 1) check_tensor(config, misfits);
  if (expert > 1) {
    if (config.model.moe.num_experts == 0)
      misfits.add("parallelism.expert = {}, but the model has no experts", expert);
    misfits.divide("the number of ranks of a stage", ranks / parallelism.pipeline,
                   "parallelism.expert", expert);
    misfits.divide("model.moe.num_experts", config.model.moe.num_experts, "parallelism.expert",
                   expert);
  }
  misfits.check();
  return {.pipeline = static_cast<int>(parallelism.pipeline),
          .data = static_cast<int>(data),
          .context = static_cast<int>(parallelism.context),
          .tensor = static_cast<int>(tensor),
          .expert = static_cast<int>(expert),
          .chunks = static_cast<int>(parallelism.pipeline_chunks),
          .sequence = parallelism.sequence_parallel && tensor > 1};
}

}  // namespace hg
