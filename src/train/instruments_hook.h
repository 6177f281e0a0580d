// Looks at a step every now and then, and writes what explains a run.
#pragma once

#include "core/file.h"
#include "train/hooks.h"
#include "train/instrument_rows.h"

namespace hg {

/// Every metrics.instrument_interval steps a row of kind "instruments", from the first micro-batch
/// of that step; every metrics.details_interval steps also histograms, and a line of
/// RUN/instruments.jsonl with every head. Looking changes no bit of the training.
class InstrumentsHook : public Hook {
 public:
  /// Takes room for results from the run's tables, which plan_step() has counted.
  InstrumentsHook(Sinks& sinks, const std::filesystem::path& details, const Tokenizer& tokenizer,
                  const RunConfig& config, RunModel& run);

  void before_step(Trainer& trainer) override;
  void after_step(Trainer& trainer, const StepResult& result) override;

 private:
  void write_details(const Trainer& trainer);

  Sinks& sinks_;
  AppendFile details_;
  const Tokenizer& tokenizer_;
  const MetricsConfig& config_;
  Instruments instruments_;
};

}  // namespace hg
