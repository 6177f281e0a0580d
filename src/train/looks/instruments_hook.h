// Looks at a step every now and then, and writes what explains a run.
#pragma once

#include "core/file.h"
#include "train/hooks.h"
#include "train/looks/instrument_rows.h"
#include "train/looks/router_watch.h"

namespace hg {

/// Every metrics.instrument_interval steps a row of kind "instruments", from the first micro-batch
/// of that step; every metrics.details_interval steps also histograms, and a line of
/// RUN/instruments.jsonl with every head and expert. Where the routing of a layer goes wrong, a row
/// of kind "event" says so. Looking changes no bit of the training.
class InstrumentsHook : public Hook {
 public:
  /// `folder` is the run's. Takes room for results from the run's tables, which plan_step() has
  /// counted.
  InstrumentsHook(Sinks& sinks, const std::filesystem::path& folder, const Tokenizer& tokenizer,
                  const RunConfig& config, RunModel& run);

  void before_step(Trainer& trainer) override;
  void after_step(Trainer& trainer, const StepResult& result) override;
  void rewound(Trainer& trainer, const StepResult& result) override;

 private:
  void write_details(const Trainer& trainer);
  /// Makes the watch what it is behind the rows of the run.
  void see_history();
  void warn_of_routing(const Trainer& trainer, std::span<const NamedValue> values);

  Sinks& sinks_;
  std::filesystem::path folder_;
  std::optional<AppendFile> details_;  // of the rank that writes
  const Tokenizer& tokenizer_;
  const RunConfig& config_;
  Instruments instruments_;
  RouterWatch watch_;
};

}  // namespace hg
