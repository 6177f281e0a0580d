// Reading text line by line, and files that hold a JSON object per line, as a run writes them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "core/check.h"

namespace hg {

/// Calls f(line, number) for each line that is not blank, without its end; lines count from 1.
void for_each_line(std::string_view text, auto&& f) {
  std::int64_t number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++number;
    if (line.find_first_not_of(" \t") != std::string_view::npos) f(line, number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

/// Calls f(value, number) for each line of JSON. Half a line at the end, left by a crash, is passed
/// over: its number is returned. Any other line that is not JSON is an error, in the file `name`.
std::optional<std::int64_t> for_each_json_line(std::string_view text, const std::string& name,
                                               auto&& f) {
  std::optional<std::int64_t> unfinished;
  for_each_line(text, [&](std::string_view line, std::int64_t number) {
    const auto value = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (value.is_discarded() && line.end() == text.end()) {
      unfinished = number;
      return;
    }
    HG_CHECK(!value.is_discarded(), "{}:{}: is not JSON", name, number);
    f(value, number);
  });
  return unfinished;
}

}  // namespace hg
