#include "train/report/run_folder.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <limits>

#include "core/check.h"
#include "core/file.h"
#include "data/json_view.h"
#include "train/metrics/metrics.h"
#include "train/report/metrics_file.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

void flatten(const YAML::Node& node, const std::string& path,
             std::map<std::string, std::string>& values) {
  if (!node.IsMap()) {
    YAML::Emitter text;
    text << YAML::Flow << node;
    values[path] = node.IsScalar() ? node.Scalar() : text.c_str();
    return;
  }
  for (const auto& entry : node) {
    const auto& key = entry.first.Scalar();
    flatten(entry.second, path.empty() ? key : path + "." + key, values);
  }
}

/// The last line that was written whole; null if there is none, or no such file.
nlohmann::json last_object(const fs::path& file) {
  if (!fs::exists(file)) return {};
  const std::string text = read_file(file);
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = rest.find_last_not_of("\r\n");
    if (end == std::string_view::npos) break;
    rest = rest.substr(0, end + 1);
    const std::size_t begin = rest.rfind('\n') + 1;  // npos + 1 is 0
    auto object = nlohmann::json::parse(rest.substr(begin), nullptr, /*allow_exceptions=*/false);
    if (object.is_object()) return object;
    const bool half = rest.end() == std::string_view(text).end();
    HG_CHECK(half, "{}: its last line is not a JSON object", file.string());
    rest = rest.substr(0, begin);
  }
  return {};
}

/// Whether the guard stopped the run, by the last line about a bad step.
std::optional<GuardStop> guard_stop(const fs::path& file) {
  const nlohmann::json json = last_object(file);
  if (json.is_null()) return std::nullopt;
  const std::string name = file.string();
  const JsonView event(name, json);
  if (event["action"].string() != "stop") return std::nullopt;
  constexpr std::int64_t kMostSteps = std::numeric_limits<std::int64_t>::max();
  return GuardStop{.step = event["step"].integer(1, kMostSteps), .kind = event["kind"].string()};
}

}  // namespace

std::map<std::string, std::string> flat_yaml(const std::string& yaml, const std::string& name) {
  std::map<std::string, std::string> values;
  try {
    const YAML::Node root = YAML::Load(yaml);
    HG_CHECK(root.IsMap(), "{}: expected keys and values", name);
    flatten(root, "", values);
  } catch (const YAML::Exception& error) {
    fail("{}: is not YAML: {}", name, error.what());
  }
  return values;
}

bool is_drawn(std::string_view name) {
  constexpr std::string_view kNames[] = {metric::kLoss,
                                         metric::kGradNorm,
                                         metric::kLearningRate,
                                         metric::kMfu,
                                         metric::kTokensPerSecond,
                                         metric::kTotalTokensPerSecond,
                                         metric::kValidationLoss,
                                         metric::kClipRate,
                                         metric::kStepSeconds,
                                         metric::kFirstToken,
                                         metric::kMaxLogit,
                                         metric::kGateMean,
                                         metric::kGateBelow01,
                                         metric::kMAct,
                                         metric::kMaxActivation,
                                         metric::kMaxLoad,
                                         metric::kLoadEntropy,
                                         metric::kDeadExperts,
                                         metric::kTokens,
                                         kValidationTargets};
  constexpr std::string_view kPrefixes[] = {
      "attention/first_token/layers.", "gate/mean/layers.", "attention/max_logit/layers.",
      "activation/max/layers.",        "weight_norm/gate/", "parameters/"};
  return std::ranges::find(kNames, name) != std::end(kNames) ||
         std::ranges::any_of(kPrefixes, [&](auto prefix) { return name.starts_with(prefix); });
}

void judge_spikes(ReportRun& run) {
  const Series &loss = run.of(metric::kLoss), &norm = run.of(metric::kGradNorm);
  SpikeMonitor monitor;
  std::size_t n = 0;
  for (std::size_t i = 0; i < loss.size(); ++i) {
    LossPoint point{.step = static_cast<std::int64_t>(loss.steps[i]), .loss = loss.values[i]};
    while (n < norm.size() && norm.steps[n] < loss.steps[i]) ++n;
    if (n < norm.size() && norm.steps[n] == loss.steps[i]) point.grad_norm = norm.values[n];
    monitor.add(point);
  }
  run.spike_scores = monitor.scores();
  run.spikes = monitor.events().ended();
  const auto open = monitor.events().open();
  run.spikes.insert(run.spikes.end(), open.begin(), open.end());
  std::ranges::stable_sort(run.spikes, {}, &SpikeEvent::start);
}

ReportRun read_run_folder(const fs::path& folder) {
  ReportRun run;
  run.path = folder;
  run.name = fs::weakly_canonical(folder).filename().string();
  run.source = "run folder";
  MetricsFile metrics = read_metrics_file(folder / "metrics.jsonl", is_drawn);
  if (metrics.unfinished)
    run.remarks.push_back(fmt::format(
        "metrics.jsonl:{} is half a line, left by a crash: passed over", *metrics.unfinished));
  run.series = std::move(metrics.series);
  run.events = std::move(metrics.events);
  run.guard_stop = guard_stop(folder / "events.jsonl");
  HG_CHECK(!run.of(metric::kLoss).empty(), "{}: no training step in it{}",
           (folder / "metrics.jsonl").string(),
           run.guard_stop ? ": the guard stopped it before the first was done" : " yet");
  constexpr std::string_view kParameters = "parameters/";
  std::erase_if(run.series, [&](const auto& entry) {
    if (!entry.first.starts_with(kParameters)) return false;
    run.parameters[entry.first.substr(kParameters.size())] = last_of(entry.second);
    return true;
  });
  if (fs::exists(folder / "config.yaml")) {
    run.config_text = read_file(folder / "config.yaml");
    run.config = flat_yaml(run.config_text, (folder / "config.yaml").string());
  } else {
    run.remarks.push_back("there is no config.yaml: what was trained is unknown");
  }
  if (const fs::path file = folder / "machine.json"; fs::exists(file))
    run.machine = parse_json(read_file(file), file.string());
  run.look = last_object(folder / "instruments.jsonl");  // those of older steps are not needed
  if (const fs::path file = folder / "attention_maps.svg"; fs::exists(file))
    run.attention_maps = read_file(file);
  run.status = status_of(run);
  if (run.guard_stop && run.status == ReportRun::Status::diverged)
    run.remarks.push_back(fmt::format("the guard stopped it at step {}: {}", run.guard_stop->step,
                                      run.guard_stop->kind == "spike" ? "a spike" : "not finite"));
  judge_spikes(run);
  // Before there were two, a run said the speed of all ranks under the name of one's.
  if (run.of(metric::kTotalTokensPerSecond).empty() && !run.of(metric::kTokensPerSecond).empty())
    run.series[metric::kTotalTokensPerSecond] = run.of(metric::kTokensPerSecond);
  return run;
}

}  // namespace hg
