#include "train/report/run_record.h"

#include <charconv>
#include <cmath>

namespace hg {

const Series& ReportRun::of(std::string_view metric) const {
  static const Series kNone;
  const auto at = series.find(metric);
  return at == series.end() ? kNone : at->second;
}

std::string ReportRun::setting(const std::string& key, const std::string& absent) const {
  const auto at = config.find(key);
  return at == config.end() ? absent : at->second;
}

ReportRun::Status status_of(const ReportRun& run) {
  using Status = ReportRun::Status;
  const Series& loss = run.of(metric::kLoss);
  const double done = loss.empty() ? 0 : loss.steps.back();
  const bool lost = !loss.empty() && !std::isfinite(loss.values.back());
  // A run that was continued from an older checkpoint has not come to its end again.
  const bool stopped = run.guard_stop && static_cast<double>(run.guard_stop->step) == done + 1;
  if (lost || stopped || (run.sweep && run.sweep->status == "diverged")) return Status::diverged;
  const std::string wanted = run.setting("training.steps");
  double steps = 0;
  const auto read = std::from_chars(wanted.data(), wanted.data() + wanted.size(), steps);
  if (read.ec != std::errc()) return Status::unknown;
  return done < steps ? Status::unfinished : Status::finished;
}

const char* name_of(ReportRun::Status status) {
  switch (status) {
    case ReportRun::Status::unknown:
      return "";
    case ReportRun::Status::finished:
      return "finished";
    case ReportRun::Status::unfinished:
      return "unfinished";
    case ReportRun::Status::diverged:
      return "diverged";
  }
  return "";
}

}  // namespace hg
