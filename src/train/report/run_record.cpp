#include "train/report/run_record.h"

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
