// What a sweep remembers of each run, and how it is read from the run's folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "train/config.h"
#include "train/spikes/spikes.h"
#include "train/sweep/divergence.h"

namespace hg {

enum class PointStatus { waiting, running, finished, diverged, failed };

template <>
struct EnumNames<PointStatus> {
  static constexpr std::pair<PointStatus, std::string_view> values[] = {
      {PointStatus::waiting, "waiting"},
      {PointStatus::running, "running"},
      {PointStatus::finished, "finished"},
      {PointStatus::diverged, "diverged"},
      {PointStatus::failed, "failed"}};
};

/// Of a diverged run, everything is of the steps up to the one where it diverged, however far it
/// went until it was ended. Numbers are NaN where they are not known.
struct PointResult {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  PointStatus status = PointStatus::waiting;
  std::string reason;      ///< of what has diverged or failed
  std::int64_t steps = 0;  ///< trained

  double initial_loss = kNone;           ///< validation loss before the first step
  double final_validation_loss = kNone;  ///< behind the last step
  double best_validation_loss = kNone;   ///< the lowest behind step 0
  double final_loss = kNone;             ///< training loss of the last step
  double max_grad_norm = kNone;
  double spike_score_olmo2 = kNone, spike_score_olmo2_grad_norm = kNone;  ///< in percent
  double spike_score_core = kNone, spike_score_core_grad_norm = kNone;    ///< in percent
  double spikes_median201_per_10k = kNone;
  double spike_events = kNone;
  double first_token_share = kNone, gate_mean = kNone, max_activation = kNone;  ///< last look
  double tokens_per_second = kNone;  ///< median over steps; measured, never twice the same

  bool ended() const {
    return status == PointStatus::finished || status == PointStatus::diverged ||
           status == PointStatus::failed;
  }
};

/// A number of PointResult by its name in sweep.json.
struct PointNumber {
  const char* name;
  double PointResult::*member;
};
/// All of them but tokens_per_second: what a run repeats bit for bit.
const std::vector<PointNumber>& repeatable_numbers();

/// "status", "reason", "steps" and the numbers.
nlohmann::ordered_json to_json(const PointResult& result);
/// What was written by to_json with tokens_per_second added; `path` is for errors.
PointResult read_result(const std::filesystem::path& path);
void write_result(const std::filesystem::path& path, const PointResult& result);

/// Follows the rows of a run's metrics.jsonl.
class PointTrace {
 public:
  PointTrace(const RunConfig& config, const DivergedConfig& diverged);

  /// Rows come in the order of the file. Those of validations that only a resumed run makes count
  /// for nothing: results must not tell whether a run was interrupted.
  void add(const nlohmann::json& row);
  /// The run stopped itself before its next step: exit code kTrainingFailed.
  void stopped_by_guard();

  std::int64_t step() const { return result_.steps; }
  double loss() const { return result_.final_loss; }
  const std::optional<Divergence>& diverged() const { return diverged_; }
  /// All numbers as of now; the status is diverged, finished (all steps are done) or running.
  PointResult result() const;

 private:
  void add_train(const nlohmann::json& row, std::int64_t step);
  void add_validation(const nlohmann::json& row, std::int64_t step);

  std::int64_t steps_, validation_interval_;
  DivergenceRule rule_;
  std::optional<Divergence> diverged_;
  SpikeMonitor spikes_;
  PointResult result_;
  std::vector<double> rates_;
};

/// The rows of a run folder's metrics.jsonl; none if there is no such file.
PointTrace trace_run(const std::filesystem::path& run, const RunConfig& config,
                     const DivergedConfig& diverged);

}  // namespace hg
