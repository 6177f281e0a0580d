// Reading metrics.jsonl fast: reports open dozens of them with 100,000 rows each.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "train/report/series.h"

namespace hg {

struct MetricsFile {
  std::map<std::string, Series, std::less<>> series;  ///< of the names that were wanted
  /// What the run said in rows of kind "event": "loss spike: from step ...".
  std::vector<std::pair<std::int64_t, std::string>> events;
  std::optional<std::int64_t> unfinished;  ///< the number of half a line at the end
};

/// Reads rows as JsonLinesSink writes them, and others of one JSON object each with a "step".
/// Numbers whose names are `wanted` become series, null becomes NaN. Half a line at the end is
/// passed over; any other that cannot be read is an error with its number.
MetricsFile read_metrics_file(const std::filesystem::path& path,
                              const std::function<bool(std::string_view)>& wanted);

}  // namespace hg
