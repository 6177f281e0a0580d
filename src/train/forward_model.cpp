#include "train/forward_model.h"

#include "train/checkpoint/checkpoint.h"

namespace hg {

ForwardModel::ForwardModel(const RunConfig& config, Device device)
    : run(config.model, device, detect_cpu()) {}

ForwardModel::ForwardModel(const TrainedRun& trained, std::int64_t tokens, std::int64_t longest,
                           const std::optional<InstrumentOptions>& look)
    : ForwardModel(trained.config, Device::cpu) {
  ForwardModel meta(trained.config, Device::meta);
  meta.lay_out(trained.config, tokens, look);
  const auto ids = [&](std::int64_t n) { return meta.run.data.allocate("ids", DType::i32, {n}); };
  meta.forward({.tokens = ids(tokens),
                .targets = ids(tokens),
                .positions = ids(tokens),
                .documents = ids(2),
                .longest = longest});

  run.ctx.scratch.reserve(meta.run.ctx.scratch.high_water());
  run.tables.reserve(meta.run.tables.high_water());
  lay_out(trained.config, tokens, look);
  load_checkpoint(trained.checkpoint, run);
}

void ForwardModel::lay_out(const RunConfig& config, std::int64_t tokens,
                           const std::optional<InstrumentOptions>& look) {
  run.store.allocate(run.ctx.device, compute_dtype(config.training.precision, run.ctx.cpu),
                     ParamStore::Purpose::inference);
  run.model.make_tables(run.ctx, run.tables);
  losses = allocate_losses(run.tables, tokens);
  if (look) instruments.emplace(config.model, tokens, run.tables, *look);
}

}  // namespace hg
