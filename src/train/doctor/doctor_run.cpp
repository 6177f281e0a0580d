// The doctor on a config and the files of its run.
#include <algorithm>
#include <set>

#include "train/doctor/doctor.h"
#include "train/doctor/doctor_text.h"

namespace hg {
namespace {

using Ranks = std::span<const RankFacts>;

/// "sentence on all ranks"; empty if no rank has one.
std::string errors_of(Ranks ranks, std::string RankFacts::*error) {
  Opinions sentences;
  for (std::size_t r = 0; r < ranks.size(); ++r)
    if (!(ranks[r].*error).empty()) sentences[ranks[r].*error].push_back(static_cast<int>(r));
  std::string text;
  for (const auto& [sentence, who] : sentences) {
    text += text.empty() ? "" : "; ";
    if (who.size() < ranks.size()) text += rank_list(who) + ": ";
    text += sentence;
  }
  return text;
}

/// Values of a fact that differ, with the ranks that have them; empty if all are the same.
std::string difference_of(Ranks ranks, std::string RankFacts::*fact) {
  Opinions values;
  for (std::size_t r = 0; r < ranks.size(); ++r)
    values[ranks[r].*fact].push_back(static_cast<int>(r));
  return values.size() == 1 ? std::string() : list_opinions(values);
}

Finding judge_config_itself(Ranks ranks) {
  if (const auto errors = errors_of(ranks, &RankFacts::config_error); !errors.empty())
    return {Severity::error, "config", errors};
  if (const auto different = difference_of(ranks, &RankFacts::config_hash); !different.empty())
    return {Severity::error, "config", "differs: hash " + different};
  if (const auto different = difference_of(ranks, &RankFacts::precision); !different.empty())
    return {Severity::error, "config",
            "training.precision is auto, which means " + different + ": name one"};
  return {
      Severity::ok, "config",
      fmt::format("{}hash {}, computing in {}", ranks.size() > 1 ? "the same on all ranks: " : "",
                  ranks.front().config_hash, ranks.front().precision)};
}

Finding judge_layout(Ranks ranks) {
  const auto errors = errors_of(ranks, &RankFacts::layout_error);
  if (!errors.empty()) return {Severity::error, "layout", errors};
  return {Severity::ok, "layout", ranks.front().layout};
}

Finding judge_data(Ranks ranks) {
  if (const auto errors = errors_of(ranks, &RankFacts::data_error); !errors.empty())
    return {Severity::error, "data", errors};
  if (const auto different = difference_of(ranks, &RankFacts::data); !different.empty())
    return {Severity::error, "data", "differ: " + different};
  return {Severity::ok, "data",
          (ranks.size() > 1 ? "the same on all ranks: " : "") + ranks.front().data};
}

Severity severity_of(double share) {
  return share > 1 ? Severity::error : share > 0.9 ? Severity::warning : Severity::ok;
}

Finding judge_gpu_memory(Ranks ranks) {
  const auto share = [](const RankFacts& one) {
    return static_cast<double>(one.plan_bytes) /
           static_cast<double>(std::max<std::int64_t>(1, one.gpu_available));
  };
  const auto tightest = std::ranges::max_element(ranks, {}, share);
  return {severity_of(share(*tightest)), "gpu memory",
          fmt::format("{} available on rank {}'s, of which a run takes {}, and CUDA, NCCL and "
                      "graphs more{}",
                      binary_size(tightest->gpu_available), tightest - ranks.begin(),
                      binary_size(tightest->plan_bytes),
                      ranks.size() > 1 ? "; the tightest of all" : "")};
}

/// What the ranks of a host need of its memory.
struct NodeMemory {
  std::string host;
  std::int64_t needed = 0, available = 0;
  int ranks = 0;
  double share() const {
    return static_cast<double>(needed) / static_cast<double>(std::max<std::int64_t>(1, available));
  }
};

Finding judge_memory(Ranks ranks) {
  std::map<std::string, NodeMemory> nodes;
  for (const RankFacts& one : ranks) {
    auto& node =
        nodes.try_emplace(one.host, NodeMemory{one.host, 0, one.memory_available, 0}).first->second;
    // A rank copies its part of a checkpoint before it writes it.
    node.needed += (one.wants_gpu ? 0 : one.plan_bytes) + one.checkpoint_bytes / std::ssize(ranks);
    node.available = std::min(node.available, one.memory_available);
    ++node.ranks;
  }
  const NodeMemory& tightest = std::ranges::max_element(nodes, {}, [](const auto& node) {
                                 return node.second.share();
                               })->second;
  std::string text = fmt::format(
      "{} available on {}, of which {} {} {}", binary_size(tightest.available), tightest.host,
      tightest.ranks == 1 ? "1 rank" : fmt::format("{} ranks", tightest.ranks),
      tightest.ranks == 1 ? "takes" : "take", binary_size(tightest.needed));
  if (nodes.size() > 1) text += fmt::format("; the tightest of {} nodes", nodes.size());
  return {severity_of(tightest.share()), "memory", text};
}

}  // namespace

std::vector<Finding> judge_gpus(Ranks ranks) {
  if (std::ranges::none_of(ranks, &RankFacts::wants_gpu)) return {};
  if (const auto errors = errors_of(ranks, &RankFacts::gpu_error); !errors.empty())
    return {{Severity::error, "gpu", errors}};
  Opinions places, kinds;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    places[fmt::format("GPU {} of {}", ranks[r].gpu_address, ranks[r].host)].push_back(
        static_cast<int>(r));
    kinds[ranks[r].gpu].push_back(static_cast<int>(r));
  }
  for (const auto& [place, who] : places) {
    if (who.size() == 1) continue;
    return {{Severity::error, "gpu",
             fmt::format("{} all take {}: a rank needs a GPU of its own", rank_list(who), place)}};
  }
  std::vector<Finding> findings = {
      {kinds.size() == 1 ? Severity::ok : Severity::warning, "gpu", list_opinions(kinds)}};
  if (std::ranges::all_of(ranks, [](const RankFacts& one) { return one.plan_bytes > 0; }))
    findings.push_back(judge_gpu_memory(ranks));
  return findings;
}

std::vector<Finding> judge_config(Ranks ranks) {
  if (!ranks.front().has_config) return {};
  std::vector<Finding> findings = {judge_config_itself(ranks)};
  if (!errors_of(ranks, &RankFacts::config_error).empty()) return findings;
  findings.push_back(judge_layout(ranks));
  if (findings.back().severity == Severity::ok) findings.push_back(judge_memory(ranks));
  findings.push_back(judge_data(ranks));
  return findings;
}

Finding judge_folder(Ranks ranks) {
  if (const auto errors = errors_of(ranks, &RankFacts::folder_error); !errors.empty())
    return {Severity::error, "run folder", errors};
  const RankFacts& first = ranks.front();
  const std::int64_t available =
      std::ranges::min(ranks, {}, &RankFacts::disk_available).disk_available;
  std::string text = fmt::format("{}: {} free{}", first.folder, binary_size(available),
                                 ranks.size() > 1 ? ", the same files on all ranks" : "");
  constexpr std::int64_t kLittle = std::int64_t{1} << 30;
  if (first.checkpoint_bytes > 0) {
    text += fmt::format("; a checkpoint takes {}, and the run at most {}",
                        binary_size(first.checkpoint_bytes), binary_size(first.kept_bytes));
  }
  const Severity severity = available <= first.checkpoint_bytes               ? Severity::error
                            : available < std::max(kLittle, first.kept_bytes) ? Severity::warning
                                                                              : Severity::ok;
  return {severity, "run folder", text};
}

}  // namespace hg
