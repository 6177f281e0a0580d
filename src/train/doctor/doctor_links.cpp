// The doctor on clocks and on what connects ranks.
#include <algorithm>
#include <cmath>

#include "train/doctor/doctor.h"
#include "train/doctor/doctor_text.h"

namespace hg {
namespace {

using Ranks = std::span<const RankFacts>;

constexpr double kGiga = 1e9;

/// Minimum, median and maximum of what `value` says of each pair.
template <class Value>
struct Spread {
  Spread(std::vector<PairLink>& pairs, Value value) {
    std::ranges::sort(pairs, {}, value);
    least = value(pairs.front()), median = value(pairs[pairs.size() / 2]);
    most = value(pairs.back());
  }
  double least, median, most;
};

/// Fewer pairs than that have no median that means anything.
constexpr std::size_t kEnough = 3;
constexpr double kMuchSlower = 4;

void judge_kind(std::vector<PairLink> pairs, const std::string& where,
                std::vector<Finding>& findings) {
  if (pairs.empty()) return;
  const std::string among =
      fmt::format("{} {}{}", pairs.size(), pairs.size() == 1 ? "pair" : "pairs", where);
  const auto add = [&](const char* subject, bool slow, const std::string& text,
                       const PairLink& slowest) {
    const bool warn = slow && pairs.size() >= kEnough;
    findings.push_back({warn ? Severity::warning : Severity::ok, subject,
                        pairs.size() == 1 ? text
                                          : fmt::format("{}; slowest ranks {} and {}", text,
                                                        slowest.a, slowest.b)});
  };
  const Spread latency(pairs, [](const PairLink& pair) { return pair.latency; });
  add("latency", latency.most > kMuchSlower * latency.median,
      fmt::format("{} / {} / {} one way, 4 bytes (min / median / max of {})",
                  short_time(latency.least), short_time(latency.median), short_time(latency.most),
                  among),
      pairs.back());
  const Spread bandwidth(pairs, [](const PairLink& pair) { return pair.bandwidth; });
  add("bandwidth", bandwidth.least < bandwidth.median / kMuchSlower,
      fmt::format("{:.2f} / {:.2f} / {:.2f} GB/s each way at once (min / median / max of {})",
                  bandwidth.least / kGiga, bandwidth.median / kGiga, bandwidth.most / kGiga, among),
      pairs.front());
}

}  // namespace

Finding judge_clocks(std::span<const ClockOffset> clocks) {
  const auto furthest = std::ranges::max_element(
      clocks.subspan(1), {}, [](const ClockOffset& one) { return std::abs(one.seconds); });
  const double off = std::abs(furthest->seconds);
  constexpr double kMisleading = 0.1;
  std::string text = fmt::format("rank {} is furthest from rank 0: {}{}, to within {}",
                                 &*furthest - clocks.data(), furthest->seconds < 0 ? "-" : "+",
                                 short_time(off), short_time(furthest->uncertainty));
  const bool bad = off - furthest->uncertainty > kMisleading;
  if (bad) text += "; times in logs and flight records cannot be compared: run NTP";
  return {bad ? Severity::warning : Severity::ok, "clocks", text};
}

std::vector<Finding> judge_pairs(std::span<const PairLink> pairs, Ranks ranks) {
  std::vector<PairLink> near, far;
  for (const PairLink& pair : pairs) {
    const bool same = ranks[static_cast<std::size_t>(pair.a)].host ==
                      ranks[static_cast<std::size_t>(pair.b)].host;
    (same ? near : far).push_back(pair);
  }
  std::vector<Finding> findings;
  judge_kind(near, far.empty() ? "" : " on one node", findings);
  judge_kind(far, near.empty() ? "" : " between nodes", findings);
  return findings;
}

std::vector<Finding> report_collectives(std::span<const CollectiveSpeed> speeds) {
  std::vector<Finding> findings;
  for (const CollectiveSpeed& speed : speeds) {
    const std::string text = fmt::format("{}: {:.2f} GB/s ({})", binary_size(speed.bytes),
                                         speed.rate() / kGiga, short_time(speed.seconds));
    const auto line = std::ranges::find(findings, name_of(speed.kind), &Finding::subject);
    if (line == findings.end()) {
      findings.push_back({Severity::ok, std::string(name_of(speed.kind)), text});
    } else {
      line->text += "; " + text;
    }
  }
  return findings;
}

}  // namespace hg
