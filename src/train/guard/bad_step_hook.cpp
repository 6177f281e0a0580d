// What is written down of bad steps.
#include "train/guard/bad_step_hook.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "dist/gather_rows.h"
#include "ops/optimizer.h"
#include "train/checkpoint/checkpoint.h"
#include "train/guard/rewind.h"

namespace hg {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::vector<NamedValue> unit_gradient_norms(RunModel& run, double scale) {
  const ParamStore &store = run.store, &whole = *run.whole;
  Context& ctx = run.ctx;
  const std::vector<ParamState> states = store.states();
  const ArenaScope scope(ctx.scratch);
  const Tensor sums = ctx.scratch.allocate("squared norms", DType::f32, {std::ssize(states)});
  for (std::size_t i = 0; i < states.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    hg::run(ctx, SumOfSquares{.out = sums.rows(row, row + 1), .x = states[i].gradient});
  }
  const HostValues<float> values(ctx, sums);

  std::map<std::string, double> own;  // by unit
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (states[i].counts)
      own[store.unit_name(states[i].unit)] += double{values[static_cast<std::int64_t>(i)]};
  }
  std::vector<double> squares;
  for (UnitId unit = 0; unit < whole.units(); ++unit) squares.push_back(own[whole.unit_name(unit)]);
  if (Comm* host = store.mesh().host; host != nullptr)
    squares = sums_of_ranks(*host, squares, "gradient norms of units");
  std::vector<NamedValue> norms;
  for (UnitId unit = 0; unit < whole.units(); ++unit) {
    const double norm = scale * std::sqrt(squares[static_cast<std::size_t>(unit)]);
    norms.push_back({whole.unit_name(unit), norm});
  }
  return norms;
}

Json decode_documents(const RunData& data, std::int64_t first, std::int64_t count) {
  constexpr std::int64_t kMost = 4, kBytes = 200;
  Json documents = Json::array();
  const std::int64_t samples = std::min(count, kMost), each = kMost / samples;
  for (std::int64_t sample = first; sample < first + samples; ++sample) {
    const Window window = data.sampler(sample);
    const std::int64_t end = window.begin + window.count;
    std::int64_t at = window.begin;
    for (std::int64_t i = 0; i < each && at < end; ++i) {
      const std::int64_t document = data.file.document_of(at);
      const std::int64_t next = std::min(end, data.file.document_begin(document + 1));
      std::vector<std::int32_t> ids(static_cast<std::size_t>(std::min(next - at, kBytes)));
      data.file.copy(at, std::ssize(ids), ids.data());
      // A model may have more ids than its tokenizer.
      std::erase_if(ids, [&](std::int32_t id) { return id >= data.tokenizer.vocab_size(); });
      documents.push_back({{"sample", sample},
                           {"document", document},
                           {"text", data.tokenizer.decode(ids).substr(0, kBytes)}});
      at = next;
    }
  }
  return documents;
}

BadStepHook::BadStepHook(Sinks& sinks, const fs::path& folder, RunData data)
    : sinks_(sinks), folder_(folder), data_(std::move(data)) {}

void BadStepHook::bad_step(Trainer& trainer, const StepResult& result) {
  const auto norms = unit_gradient_norms(trainer.model(), 1 / result.targets);
  if (trainer.model().store.mesh().world.rank > 0) return;
  const RunConfig& config = trainer.config();
  const auto number = [](double value) { return std::isfinite(value) ? Json(value) : Json(); };
  const MetricRow now = make_row(trainer, "event", {});
  Json line = {{"time", now.time},
               {"step", result.step},
               {"kind", name_of(result.verdict.bad)},
               {"action", name_of(result.verdict.action)},
               {"loss", number(result.loss)},
               {"grad_norm", number(result.grad_norm)},
               {"z", number(result.verdict.z)},
               {"median", number(result.verdict.median)},
               {"first_sample", result.first_sample},
               {"last_sample", result.first_sample + config.training.global_batch_size - 1}};
  const auto checkpoint = newest_checkpoint(folder_ / "checkpoints", Inspect::sizes);
  line["checkpoint"] = checkpoint ? Json(checkpoint->filename().string()) : Json();
  if (!result.verdict.why_stop.empty()) line["why_stop"] = result.verdict.why_stop;
  for (const auto& [unit, norm] : norms) line["grad_norms"][unit] = number(norm);
  line["worst_sample"] = result.worst_sample;
  line["documents"] =
      decode_documents(data_, result.worst_sample, config.training.micro_batch_size);
  if (!events_) events_.emplace(folder_ / "events.jsonl", AppendFile::Open::create_or_append);
  events_->write(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  events_->sync();
  if (result.verdict.action == Action::rewind) return;  // rewound() tells it
  const char* outcome = result.verdict.action == Action::skip_update ? "; the update is skipped"
                        : result.verdict.action == Action::stop      ? "; the run stops"
                                                                     : "";
  write_row(sinks_, trainer, "event", {},
            {{"bad step", fmt::format("{}: {}{}", result.step, describe(result), outcome)}});
}

void BadStepHook::rewound(Trainer& trainer, const StepResult& result) {
  for (const auto& sink : sinks_) sink->forget_after(trainer.state().step);
  write_row(
      sinks_, trainer, "event", {},
      {{"bad step", fmt::format("{}: {}; back to step {}, on with sample {}", result.step,
                                describe(result), trainer.state().step, trainer.state().samples)}});
}

}  // namespace hg
