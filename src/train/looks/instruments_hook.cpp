#include "train/looks/instruments_hook.h"

#include "train/looks/gate_rows.h"

namespace hg {

InstrumentsHook::InstrumentsHook(Sinks& sinks, const std::filesystem::path& folder,
                                 const Tokenizer& tokenizer, const RunConfig& config, RunModel& run)
    : sinks_(sinks),
      folder_(folder),
      tokenizer_(tokenizer),
      config_(config),
      instruments_(config.model, config.training.micro_batch_size * config.training.seq_len,
                   run.tables, {}, run.store.mesh()),
      watch_(config.model.moe, config.training.micro_batch_size * config.training.seq_len) {
  if (run.store.mesh().world.rank > 0) return;
  details_.emplace(folder / "instruments.jsonl", AppendFile::Open::create_or_append);
  see_history();
}

void InstrumentsHook::see_history() {
  watch_ =
      RouterWatch(config_.model.moe, config_.training.micro_batch_size * config_.training.seq_len);
  if (config_.model.moe.num_experts > 0) watch_.see_history(folder_ / "metrics.jsonl");
}

void InstrumentsHook::before_step(Trainer& trainer) {
  const std::int64_t step = trainer.state().step + 1;
  if (step % config_.metrics.instrument_interval == 0) trainer.look_with(instruments_);
}

void InstrumentsHook::after_step(Trainer& trainer, const StepResult& result) {
  if (result.step % config_.metrics.instrument_interval != 0) return;
  RunModel& run = trainer.model();
  instruments_.gather_stages();
  instruments_.fetch(run.ctx);
  std::vector<NamedValue> values = instrument_summary(instruments_);
  if (result.verdict.action == Action::update) {  // on all ranks, or on none
    const auto updates = measure_updates(run, trainer.config().optimizer, result.lr,
                                         result.gradient_scale, result.step);
    std::ranges::move(update_summary(updates), std::back_inserter(values));
  }
  if (!details_) return;  // rank 0 writes
  const bool details = result.step % config_.metrics.details_interval == 0;
  MetricRow row = make_row(trainer, "instruments", std::move(values));
  if (details) {
    row.histograms = gate_histograms(instruments_);
    write_details(trainer);
  }
  write_row(sinks_, row);
  warn_of_routing(trainer, row.values);
}

void InstrumentsHook::rewound(Trainer& trainer, const StepResult&) {
  if (!details_) return;
  drop_rows_after(*details_, trainer.state().step);
  see_history();
}

void InstrumentsHook::warn_of_routing(const Trainer& trainer, std::span<const NamedValue> values) {
  const std::vector<RoutingAlarm> alarms = watch_.see(values);
  if (alarms.empty()) return;
  write_row(sinks_, trainer, "event",
            {{"routing/layers_gone_wrong", static_cast<double>(alarms.size())}},
            {{"routing goes wrong", describe(alarms, config_.model.moe)}});
}

void InstrumentsHook::write_details(const Trainer& trainer) {
  nlohmann::ordered_json line = {{"step", trainer.state().step},
                                 {"tokens", trainer.state().tokens}};
  line.update(instrument_details(instruments_, trainer.seen_tokens(), tokenizer_));
  // A token may be half a character, which JSON cannot hold.
  details_->write(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace hg
