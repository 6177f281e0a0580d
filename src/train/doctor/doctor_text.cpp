#include "train/doctor/doctor_text.h"

#include <fmt/format.h>

#include <cmath>

#include "dist/cpu_share.h"

namespace hg {

std::string rank_list(std::span<const int> ranks) {
  constexpr std::size_t kNamed = 64;
  const std::size_t named = std::min(kNamed, ranks.size());
  std::string text =
      fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", ranges_of(ranks.first(named)));
  if (named < ranks.size()) text += fmt::format(" and {} more", ranks.size() - named);
  return text;
}

std::string list_opinions(const Opinions& opinions) {
  if (opinions.size() == 1)
    return opinions.begin()->first + (opinions.begin()->second.size() > 1 ? " on all ranks" : "");
  std::string text;
  for (const auto& [words, ranks] : opinions)
    text += fmt::format("{}{} on {}", text.empty() ? "" : "; ", words, rank_list(ranks));
  return text;
}

std::string binary_size(std::int64_t bytes) {
  double size = static_cast<double>(bytes);
  for (const char* unit : {"B", "KiB", "MiB", "GiB"}) {
    if (size < 1024)
      return fmt::format("{:.{}f} {}", size, size < 10 && bytes > 1023 ? 1 : 0, unit);
    size /= 1024;
  }
  return fmt::format("{:.1f} TiB", size);
}

std::string short_time(double seconds) {
  double value = seconds * 1e6;
  for (const char* unit : {"us", "ms"}) {
    if (std::abs(value) < 1000)
      return fmt::format("{:.{}f} {}", value, std::abs(value) < 10 ? 1 : 0, unit);
    value /= 1000;
  }
  return fmt::format("{:.1f} s", value);
}

}  // namespace hg
