// Writes down what is known of every bad step, and takes back what a rewound run has said.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "core/file.h"
#include "data/sampler.h"
#include "data/tokenizer.h"
#include "train/hooks.h"

namespace hg {

/// The data of a run, for people.
struct RunData {
  const TokenFile& file;
  const Tokenizer& tokenizer;
  Sampler sampler;
};

/// A line of RUN/events.jsonl for each bad step, never taken back, not even by a resume or rewind:
/// docs/faults.md lists its keys; and a row of kind "event". Behind a rewind it makes all sinks
/// forget the steps that are void. On all ranks, as the first hook; rank 0 writes.
class BadStepHook : public Hook {
 public:
  /// `folder` is the run's.
  BadStepHook(Sinks& sinks, const std::filesystem::path& folder, RunData data);

  void bad_step(Trainer& trainer, const StepResult& result) override;
  void rewound(Trainer& trainer, const StepResult& result) override;

 private:
  Sinks& sinks_;
  std::filesystem::path folder_;
  RunData data_;
  std::optional<AppendFile> events_;  // of rank 0, from the first event on
};

/// Norms of the mean loss's gradient, of each unit of the whole model (embedding, layers.0, ...).
/// Collective.
std::vector<NamedValue> unit_gradient_norms(RunModel& run, double scale);

/// The beginnings of the first documents in `count` samples from `first`: sample, document and
/// text, 200 bytes of it.
nlohmann::ordered_json decode_documents(const RunData& data, std::int64_t first,
                                        std::int64_t count);

}  // namespace hg
