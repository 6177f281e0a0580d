#include "dist/host_list.h"

#include <fmt/format.h>

#include <charconv>

namespace hg {
namespace {

constexpr std::size_t kMostHosts = 1'000'000;

/// Cuts at commas outside brackets; nothing if brackets do not pair.
std::optional<std::vector<std::string_view>> cut_at_commas(std::string_view list) {
  std::vector<std::string_view> parts;
  bool inside = false;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i] == '[' || list[i] == ']') {
      if (inside == (list[i] == '[')) return std::nullopt;
      inside = !inside;
    } else if (list[i] == ',' && !inside) {
      parts.push_back(list.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  if (inside) return std::nullopt;
  parts.push_back(list.substr(begin));
  return parts;
}

/// "01-03,7" as "01", "02", "03", "7": the width of the first number stays.
std::optional<std::vector<std::string>> expand_ranges(std::string_view ranges) {
  std::vector<std::string> numbers;
  const auto parts = cut_at_commas(ranges);
  for (const std::string_view part : *parts) {
    const std::size_t dash = part.find('-');
    const std::string_view low = part.substr(0, dash);
    const auto first = parse_count(low);
    const auto last = dash == part.npos ? first : parse_count(part.substr(dash + 1));
    if (!first || !last || *last < *first) return std::nullopt;
    if (static_cast<std::size_t>(*last - *first) >= kMostHosts - numbers.size())
      return std::nullopt;
    for (int n = *first; n <= *last; ++n) numbers.push_back(fmt::format("{:0{}}", n, low.size()));
  }
  return numbers;
}

/// The names that one part of a list stands for, such as "r[1-2]n[1-2]".
std::optional<std::vector<std::string>> expand_name(std::string_view part) {
  std::vector<std::string> names = {""};
  while (!part.empty()) {
    const std::size_t open = part.find('[');
    for (std::string& name : names) name += part.substr(0, open);
    if (open == part.npos) break;
    const std::size_t close = part.find(']', open);
    const auto numbers = expand_ranges(part.substr(open + 1, close - open - 1));
    if (!numbers || names.size() * numbers->size() > kMostHosts) return std::nullopt;
    std::vector<std::string> longer;
    for (const std::string& name : names)
      for (const std::string& number : *numbers) longer.push_back(name + number);
    names = std::move(longer);
    part.remove_prefix(close + 1);
  }
  return names;
}

}  // namespace

std::optional<int> parse_count(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<std::vector<std::string>> expand_hosts(std::string_view list) {
  const auto parts = cut_at_commas(list);
  if (!parts) return std::nullopt;
  std::vector<std::string> hosts;
  for (const std::string_view part : *parts) {
    auto names = part.empty() ? std::nullopt : expand_name(part);
    if (!names || hosts.size() + names->size() > kMostHosts) return std::nullopt;
    for (std::string& name : *names) hosts.push_back(std::move(name));
  }
  return hosts;
}

std::optional<std::vector<int>> expand_counts(std::string_view list) {
  std::vector<int> counts;
  const auto parts = cut_at_commas(list);
  if (!parts) return std::nullopt;
  for (std::string_view part : *parts) {
    int times = 1;
    if (const std::size_t open = part.find("(x"); open != part.npos) {
      if (!part.ends_with(')')) return std::nullopt;
      const auto parsed = parse_count(part.substr(open + 2, part.size() - open - 3));
      if (!parsed) return std::nullopt;
      times = *parsed;
      part = part.substr(0, open);
    }
    const auto count = parse_count(part);
    if (!count || counts.size() + static_cast<std::size_t>(times) > kMostHosts) return std::nullopt;
    counts.insert(counts.end(), static_cast<std::size_t>(times), *count);
  }
  return counts;
}

}  // namespace hg
