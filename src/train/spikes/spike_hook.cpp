#include "train/spikes/spike_hook.h"

#include "train/spikes/loss_series.h"

namespace hg {
namespace {

SpikeMonitor monitor_of(const std::filesystem::path& history) {
  if (!std::filesystem::exists(history)) return {};
  return monitor_spikes(parse_loss_json_lines(read_file(history), history.string()).points);
}

/// "from step 120 for 12 steps: 0.534 nats above the median of 2.310, at step 122"
std::string describe(const SpikeEvent& event) {
  const char* state = event.open                              ? ", not over when the run ended"
                      : event.kind == SpikeEvent::Kind::shift ? ", and did not come back"
                                                              : "";
  return fmt::format(
      "from step {} for {} steps{}: {:.3f} nats above the median of {:.3f}, at step {}",
      event.start, event.steps(), state, event.height, event.loss - event.height, event.peak);
}

}  // namespace

SpikeHook::SpikeHook(Sinks& sinks, const std::filesystem::path& history)
    : sinks_(sinks),
      history_(history),
      monitor_(monitor_of(history)),
      reported_(monitor_.events().ended().size()) {}

void SpikeHook::after_step(Trainer& trainer, const StepResult& result) {
  monitor_.add({.step = result.step,
                .loss = result.loss,
                .grad_norm = result.grad_norm,
                .tokens = trainer.state().tokens});
  for (const auto& ended = monitor_.events().ended(); reported_ < ended.size(); ++reported_) {
    write_event(trainer, ended[reported_]);
  }
  if (result.step % trainer.config().metrics.log_interval == 0) write_scores(trainer);
}

void SpikeHook::rewound(Trainer&, const StepResult&) {
  monitor_ = monitor_of(history_);
  reported_ = monitor_.events().ended().size();
}

void SpikeHook::end(Trainer& trainer) {
  for (const SpikeEvent& event : monitor_.events().open()) write_event(trainer, event);
}

void SpikeHook::write_event(const Trainer& trainer, const SpikeEvent& event) {
  std::vector<NamedValue> values = {{"spike/start", static_cast<double>(event.start)},
                                    {"spike/peak", static_cast<double>(event.peak)},
                                    {"spike/steps", static_cast<double>(event.steps())},
                                    {"spike/height(nats)", event.height},
                                    {"spike/z", event.z}};
  std::string text = describe(event);
  if (event.tokens_after > 0) {
    const std::int64_t seq_len = trainer.config().training.seq_len;
    const std::int64_t last = event.tokens_after / seq_len - 1;
    // Behind a rewind the samples before are those of a batch that was passed over.
    const std::int64_t first = std::max(event.tokens_before / seq_len,
                                        last + 1 - trainer.config().training.global_batch_size);
    values.push_back({"spike/first_sample", static_cast<double>(first)});
    values.push_back({"spike/last_sample", static_cast<double>(last)});
    text += fmt::format(", samples {} to {}", first, last);
  }
  write_row(sinks_, trainer, "event", std::move(values), {{"loss spike", std::move(text)}});
}

void SpikeHook::write_scores(const Trainer& trainer) {
  const SpikeScores scores = monitor_.scores();
  std::vector<NamedValue> values;
  const auto add = [&](const char* name, const Share& share, double scale) {
    if (share.values > 0) values.push_back({name, share.per(scale)});
  };
  add("spike_score/olmo2(%)", scores.olmo2, 100);
  add("spike_score/olmo2_grad_norm(%)", scores.olmo2_grad_norm, 100);
  add("spike_score/core(%)", scores.core, 100);
  add("spike_score/core_grad_norm(%)", scores.core_grad_norm, 100);
  add("spikes/median201_per_10k", scores.median201, 1e4);
  const SpikeDetector& events = monitor_.events();
  if (events.ready()) {
    const std::size_t count = events.ended().size() + events.open().size();
    values.push_back({"spikes/robust_events", static_cast<double>(count)});
  }
  if (!values.empty()) write_row(sinks_, trainer, "spikes", std::move(values));
}

}  // namespace hg
