// One of many ranks with a small model, for tests of what ranks send each other and hold.
#pragma once

#include <vector>

#include "data/context_part.h"
#include "dist/run_ranks.h"
#include "train/layout.h"
#include "train/optimizer.h"
#include "train/run_model.h"

namespace hg::test {

/// A config whose model every layout can divide: 4 layers, 4 KV heads, 256 tokens of vocabulary.
inline RunConfig rank_config() {
  RunConfig config;
  config.model.vocab_size = 256;
  config.model.hidden_size = 32;
  config.model.num_hidden_layers = 4;
  config.model.num_attention_heads = 4;
  config.model.num_key_value_heads = 4;
  config.model.head_dim = 8;
  config.model.intermediate_size = 48;
  config.model.max_position_embeddings = 64;
  config.training.seq_len = 16;
  config.training.micro_batch_size = 1;
  config.training.global_batch_size = 8;
  config.training.precision = Precision::f32;
  config.metrics.instrument_interval = 0;
  return config;
}

/// A rank that has drawn its weights, and a micro-batch: another one at each place of the data
/// axis.
class RankModel {
 public:
  RankModel(Comm& world, const RunConfig& config)
      : config_(config),
        comms_(world, layout_of(config, world.size())),
        run_(make_training_model(config, cpu_, plan_step(config, cpu_, mesh()), mesh())),
        losses_(allocate_losses(run_->tables, micro_batch_tokens(config.training, mesh()))),
        batch_(config.training.micro_batch_size * config.training.seq_len) {
    const auto t =
        static_cast<std::int32_t>(config.training.micro_batch_size * config.training.seq_len);
    const auto token = [&](std::int32_t i) {
      return (7 * i * i + 31 * mesh().data.rank) %
             static_cast<std::int32_t>(config.model.vocab_size);
    };
    HostBatch whole(t);
    for (std::int32_t i = 0; i < t; ++i) {
      whole.positions.push_back(i);
      whole.tokens.push_back(token(i));
      whole.targets.push_back(token(i + 1));
    }
    whole.documents = {0, t};
    whole.longest = t;
    const Group& context = mesh().context;
    context.size == 1 ? std::swap(batch_, whole)
                      : cut_context(whole, context.rank, context.size, batch_);
    run_->store.initialize(1);
    run_->store.publish(run_->ctx);
    run_->store.finish_reduce(run_->ctx);
  }

  /// One optimizer step of so many micro-batches, with all that is sent for it done.
  void step(int micros = 1) {
    for (int micro = 0; micro < micros; ++micro) {
      run_->model.forward_backward(run_->ctx, batch_.view(),
                                   {.recompute = config_.training.recompute,
                                    .micro = {.first = micro == 0, .last = micro + 1 == micros}},
                                   losses_);
    }
    gradient_norm(run_->ctx, run_->store);
    adamw_step(run_->ctx, run_->store, {}, 1e-3, 1, ++steps_);
    run_->model.end_step(run_->ctx);
    run_->store.finish_reduce(run_->ctx);
  }

  const Mesh& mesh() const { return comms_.mesh(); }
  const ParamStore& store() const { return run_->store; }
  const Context& context() const { return run_->ctx; }

 private:
  RunConfig config_;
  CpuInfo cpu_ = detect_cpu();
  MeshComms comms_;
  std::unique_ptr<RunModel> run_;
  TokenLosses losses_;
  HostBatch batch_;
  std::int64_t steps_ = 0;
};

/// Calls and bytes since `before`.
inline CommCounts since(const CommCounts& before, const Comm& comm) {
  CommCounts now = comm.counts();
  for (std::size_t i = 0; i < now.by_kind.size(); ++i) {
    now.by_kind[i].calls -= before.by_kind[i].calls;
    now.by_kind[i].bytes -= before.by_kind[i].bytes;
  }
  return now;
}

}  // namespace hg::test
