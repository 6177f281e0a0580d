#include "train/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/random.h"

namespace hg {
namespace {

// Tokens of the prompt taken at once: attention keeps a row of probabilities for each.
constexpr std::int64_t kPromptChunk = 64;

std::vector<KeyValueCache> make_caches(Arena& arena, const ModelConfig& config, DType dtype) {
  const Shape shape{config.max_position_embeddings, config.num_key_value_heads, 1, config.head_dim};
  std::vector<KeyValueCache> caches;
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    caches.push_back(
        {.k = arena.allocate("keys", dtype, shape), .v = arena.allocate("values", dtype, shape)});
  }
  return caches;
}

}  // namespace

std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                          double draw) {
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto logit = [&](std::int32_t id) { return logits[static_cast<std::size_t>(id)]; };
  // Equal logits keep the order of ids, so that a draw means the same token everywhere.
  std::ranges::stable_sort(order, std::greater{}, logit);
  if (options.temperature <= 0) return order[0];

  std::vector<double> probability(order.size());
  double sum = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    sum += probability[i] =
        std::exp((double{logit(order[i])} - double{logit(order[0])}) / options.temperature);
  }
  double kept = 0;
  std::size_t count = 0;
  while (count < order.size() && (count == 0 || kept < options.top_p * sum))
    kept += probability[count++];
  double target = draw * kept;
  for (std::size_t i = 0; i < count; ++i) {
    target -= probability[i];
    if (target < 0) return order[i];
  }
  return order[count - 1];
}

Generator::Generator(const ModelConfig& config, DType dtype, const CpuInfo& cpu)
    : config_(config), positions_(static_cast<std::size_t>(config.max_position_embeddings)) {
  std::iota(positions_.begin(), positions_.end(), 0);
  widened_.resize(static_cast<std::size_t>(config.vocab_size));
  const Shape logits{1, config.vocab_size};

  RunModel meta(config, Device::meta, cpu);
  meta.store.allocate(Device::meta, dtype, ParamStore::Purpose::inference);
  meta.model.make_tables(meta.ctx, meta.tables);
  const std::int64_t chunk = std::min(kPromptChunk, config.max_position_embeddings);
  const Tensor ids = meta.data.allocate("ids", DType::i32, {chunk});
  Arena caches("caches");
  meta.model.decode(meta.ctx, ids, ids, config.max_position_embeddings - chunk,
                    make_caches(caches, config, dtype),
                    meta.tables.allocate("logits", dtype, logits));

  run_ = std::make_unique<RunModel>(config, Device::cpu, cpu);
  run_->ctx.scratch.reserve(meta.ctx.scratch.high_water());
  run_->tables.reserve(meta.tables.high_water());
  cache_memory_.reserve(caches.high_water());
  run_->store.allocate(Device::cpu, dtype, ParamStore::Purpose::inference);
  run_->model.make_tables(run_->ctx, run_->tables);
  logits_ = run_->tables.allocate("logits", dtype, logits);
  caches_ = make_caches(cache_memory_, config, dtype);
}

std::span<const float> Generator::next_logits(std::span<const std::int32_t> tokens,
                                              std::int64_t first) {
  const auto n = static_cast<std::int64_t>(tokens.size());
  const ConstTensor ids(tokens.data(), DType::i32, {n});
  const ConstTensor positions(positions_.data() + first, DType::i32, {n});
  run_->model.decode(run_->ctx, ids, positions, first, caches_, logits_);
  for (std::size_t i = 0; i < widened_.size(); ++i) {
    widened_[i] = logits_.dtype() == DType::f32 ? logits_.as<float>()[i]
                                                : static_cast<float>(logits_.as<bf16>()[i]);
  }
  return widened_;
}

void Generator::generate(std::span<const std::int32_t> prompt, std::int64_t most, std::int32_t stop,
                         const SamplingOptions& options,
                         const std::function<void(std::int32_t)>& each) {
  HG_CHECK(!prompt.empty(), "an empty prompt: there is nothing to continue");
  const auto length = static_cast<std::int64_t>(prompt.size());
  HG_CHECK(length <= config_.max_position_embeddings,
           "a prompt of {} tokens; the model's positions end at {}", length,
           config_.max_position_embeddings);
  HG_CHECK(options.ids >= 0 && options.ids <= config_.vocab_size,
           "sampling from {} ids of a model with {}", options.ids, config_.vocab_size);
  // A model may have more ids than its tokenizer; these have no text.
  const auto ids = static_cast<std::size_t>(options.ids > 0 ? options.ids : config_.vocab_size);
  const RandomStream stream(options.seed, "sampling");
  std::span<const float> logits;
  for (std::int64_t first = 0; first < length; first += kPromptChunk) {
    const auto count = std::min(kPromptChunk, length - first);
    logits = next_logits(
        prompt.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)), first);
  }
  std::int64_t position = length;
  for (std::int64_t i = 0; i < most; ++i) {
    const std::int32_t token = sample_token(logits.first(ids), options,
                                            double{stream.uniform(static_cast<std::uint64_t>(i))});
    each(token);
    if (token == stop || position == config_.max_position_embeddings) return;
    logits = next_logits({&token, 1}, position++);
  }
}

}  // namespace hg
