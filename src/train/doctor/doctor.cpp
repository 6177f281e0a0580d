#include "train/doctor/doctor.h"

#include <algorithm>
#include <set>

#include "train/doctor/doctor_text.h"

namespace hg {
namespace {

using Ranks = std::span<const RankFacts>;

/// Ranks by what `describe` says of each; empty words do not count.
template <class Describe>
Opinions opinions(Ranks ranks, Describe&& describe) {
  Opinions found;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const std::string words = describe(ranks[r]);
    if (!words.empty()) found[words].push_back(static_cast<int>(r));
  }
  return found;
}

/// What all ranks should say alike.
Finding judge_same(Ranks ranks, const char* subject, std::string RankFacts::*fact,
                   Severity if_different, const char* consequence) {
  const Opinions all = opinions(ranks, [&](const RankFacts& one) { return one.*fact; });
  if (all.size() == 1) return {Severity::ok, subject, list_opinions(all)};
  return {if_different, subject, list_opinions(all) + ": " + consequence};
}

/// Indices of the ranks on each host.
std::map<std::string, std::vector<int>> hosts_of(Ranks ranks) {
  return opinions(ranks, [](const RankFacts& one) { return one.host; });
}

Finding judge_world(Ranks ranks) {
  const auto& first = ranks.front();
  std::string text = first.source;
  if (!first.variables.empty()) text += fmt::format(" ({})", fmt::join(first.variables, " "));
  return {Severity::ok, "world", text};
}

Finding judge_hosts(Ranks ranks) {
  const auto hosts = hosts_of(ranks);
  std::string text = fmt::format(
      "{} on {} {}", ranks.size() == 1 ? "1 rank" : fmt::format("{} ranks", ranks.size()),
      hosts.size(), hosts.size() == 1 ? "node:" : "nodes:");
  constexpr std::size_t kNamed = 8;
  std::size_t named = 0;
  for (const auto& [host, on_host] : hosts) {
    if (named++ == kNamed) {
      text += fmt::format(", and {} nodes more", hosts.size() - kNamed);
      break;
    }
    text += fmt::format("{} {} with {}", named > 1 ? "," : "", host, rank_list(on_host));
  }
  for (const auto& [host, on_host] : hosts) {
    for (const int r : on_host) {
      const int told = ranks[static_cast<std::size_t>(r)].local_size;
      if (told == std::ssize(on_host)) continue;
      return {Severity::warning, "nodes",
              fmt::format("{}; the launcher told rank {} of {} on its node, but {} has {}", text, r,
                          told, host, on_host.size())};
    }
  }
  return {Severity::ok, "nodes", text};
}

/// How the ranks of one node share its processors, and what is wrong with it.
struct NodeCores {
  std::string words, problem;
};

NodeCores describe_cores(Ranks ranks, std::span<const int> on_host) {
  std::set<int> all;
  std::set<std::size_t> counts;
  std::set<int> threads;
  std::size_t sum = 0;
  int thread_sum = 0;
  bool too_many = false;
  for (const int r : on_host) {
    const RankFacts& one = ranks[static_cast<std::size_t>(r)];
    all.insert(one.cpus.begin(), one.cpus.end());
    counts.insert(one.cpus.size());
    threads.insert(one.threads);
    sum += one.cpus.size();
    thread_sum += one.threads;
    too_many = too_many || one.threads > std::ssize(one.cpus);
  }
  const auto range = [](const auto& values) {
    return values.size() == 1 ? fmt::format("{}", *values.begin())
                              : fmt::format("{} to {}", *values.begin(), *values.rbegin());
  };
  const RankFacts& first = ranks[static_cast<std::size_t>(on_host.front())];
  NodeCores node;
  const bool alone = on_host.size() == 1;
  node.words = fmt::format(
      "{} {} of {} CPUs{}, {} {}{}",
      alone ? "a rank uses"
            : fmt::format("{} ranks {}", on_host.size(), sum == all.size() ? "use" : "share"),
      all.size(), first.node_cpus,
      alone || sum != all.size() ? "" : fmt::format(", {} each of their own", range(counts)),
      range(threads), threads == std::set{1} ? "thread" : "threads", alone ? "" : " each");
  if (too_many || thread_sum > std::ssize(all)) {
    node.problem =
        "there are more threads than CPUs, which wait for each other; OMP_WAIT_POLICY=passive "
        "makes that bearable";
  } else if (first.cpu_quota > 0 && first.cpu_quota + 0.5 < thread_sum) {
    node.problem = fmt::format(
        "the container may use {:.1f} CPUs at once, less than there are threads: set "
        "training.threads",
        first.cpu_quota);
  } else if (2 * thread_sum <= first.node_cpus) {
    node.problem =
        "most CPUs have nothing to do; if the launcher bound the ranks, as mpirun does without "
        "--bind-to none, bind them wider";
  }
  return node;
}

Finding judge_cores(Ranks ranks) {
  Opinions words;  // by what is said of a node, the first ranks of such nodes
  std::string problem;
  for (const auto& [host, on_host] : hosts_of(ranks)) {
    const NodeCores node = describe_cores(ranks, on_host);
    words[node.words].push_back(on_host.front());
    if (problem.empty() && !node.problem.empty())
      problem = fmt::format("; {}{}", node.problem,
                            ranks.size() == on_host.size() ? "" : " (on " + host + ")");
  }
  std::string text;
  for (const auto& [of_node, first_ranks] : words) {
    text += fmt::format("{}{}", text.empty() ? "" : "; ", of_node);
    if (words.size() > 1)
      text += fmt::format(
          " on {}{}", ranks[static_cast<std::size_t>(first_ranks.front())].host,
          first_ranks.size() == 1 ? "" : fmt::format(" and {} more", first_ranks.size() - 1));
  }
  return {problem.empty() ? Severity::ok : Severity::warning, "cores", text + problem};
}

/// Nothing where no variable is set.
std::vector<Finding> judge_devices(Ranks ranks) {
  std::set<std::string> names;
  for (const RankFacts& one : ranks)
    for (const auto& [name, value] : one.device_variables) names.insert(name);
  std::vector<Finding> findings;
  for (const std::string& name : names) {
    const bool visible = name == "CUDA_VISIBLE_DEVICES";
    const Opinions values = opinions(ranks, [&](const RankFacts& one) {
      const auto found = one.device_variables.find(name);
      return found == one.device_variables.end() ? std::string("not set")
                                                 : name + "=" + found->second;
    });
    Finding finding = {Severity::ok, "devices", list_opinions(values)};
    if (!visible && values.size() > 1) {
      finding.severity = Severity::warning;
      finding.text += ": NCCL should be told the same everywhere";
    }
    for (std::size_t r = 0; visible && r < ranks.size(); ++r) {
      const auto found = ranks[r].device_variables.find(name);
      if (found == ranks[r].device_variables.end()) continue;
      const int devices = visible_devices(found->second);
      // One is the rank's own, or its neighbours see the same: judge_gpus knows.
      if (devices == 1 || devices == ranks[r].local_size) continue;
      finding.severity = Severity::warning;
      finding.text += fmt::format("; rank {} sees {} {}, but its node has {} ranks", r, devices,
                                  devices == 1 ? "device" : "devices", ranks[r].local_size);
      break;
    }
    findings.push_back(std::move(finding));
  }
  return findings;
}

}  // namespace

std::string_view name_of(Severity severity) {
  switch (severity) {
    case Severity::ok:
      return "ok";
    case Severity::warning:
      return "warning";
    case Severity::error:
      return "error";
  }
  return "";
}

std::string Finding::to_string() const {
  return fmt::format("{:<8} {:<15} {}", name_of(severity), subject, text);
}

int visible_devices(std::string_view value) {
  int count = 0;
  while (!value.empty()) {
    const std::size_t comma = std::min(value.find(','), value.size());
    const std::string_view one = value.substr(0, comma);
    if (one.empty() || one.starts_with('-') || one == "NoDevFiles" || one == "none") break;
    ++count;
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
  return count;
}

std::vector<Finding> judge_nodes(Ranks ranks) {
  std::vector<Finding> findings = {
      judge_world(ranks),
      judge_hosts(ranks),
      judge_same(ranks, "headgate", &RankFacts::build, Severity::error,
                 "all ranks must run the same one"),
      judge_same(ranks, "processor", &RankFacts::processor, Severity::warning,
                 "another machine may round sums differently, so runs on these ranks are not the "
                 "same bit for "
                 "bit as runs on one kind"),
      judge_cores(ranks),
  };
  std::ranges::move(judge_devices(ranks), std::back_inserter(findings));
  return findings;
}

}  // namespace hg
