// What was trained, how configs differ, and what repeats a run.
#include <algorithm>
#include <map>
#include <set>

#include "train/report/sections.h"

namespace hg {
namespace {

/// Values of a key over the runs of a group, each once: "1, 2".
std::string values_of(const SectionInput& input, const RunGroup& group, const std::string& key) {
  std::vector<std::string> values;
  for (const std::size_t r : group.runs) {
    const std::string value = input.runs[r].config.empty() ? "" : input.runs[r].setting(key, "-");
    if (!value.empty() && std::ranges::find(values, value) == values.end()) values.push_back(value);
  }
  std::string text;
  for (const std::string& value : values) text += (text.empty() ? "" : ", ") + value;
  return text.empty() ? "?" : text;
}

/// The text at a path of keys in machine.json, "-" if there is none.
std::string fact(const nlohmann::json& machine, std::initializer_list<const char*> path) {
  const nlohmann::json* at = &machine;
  for (const char* key : path) {
    if (!at->is_object() || !at->contains(key)) return "-";
    at = &(*at)[key];
  }
  return at->is_string() ? at->get<std::string>() : at->dump();
}

/// "8 on 1 node: data 8, ZeRO stage 1"
std::string ranks_of(const nlohmann::json& machine) {
  const std::string count = fact(machine, {"ranks", "count"});
  if (count == "-" || count == "1") return count;
  const std::string nodes = fact(machine, {"ranks", "nodes"});
  return fmt::format("{} on {} {}: {}, ZeRO stage {}", count, nodes,
                     nodes == "1" ? "node" : "nodes", fact(machine, {"ranks", "layout"}),
                     fact(machine, {"ranks", "zero_stage"}));
}

}  // namespace

ReportSection config_section(const SectionInput& input) {
  ReportSection section{.id = "config", .title = "Configs"};
  std::set<std::string> keys;
  std::size_t with_config = 0;
  for (const ReportRun& run : input.runs) {
    with_config += run.config.empty() ? 0 : 1;
    for (const auto& [key, value] : run.config) keys.insert(key);
  }
  if (with_config == 0) {
    section.absent = "No run has a config.yaml.";
    return section;
  }
  Table table{.id = "config", .title = "Where configs differ", .columns = {{"key", "key", true}}};
  for (const RunGroup& group : input.grouping.groups)
    table.columns.push_back({group.name, group.name, true});
  for (const std::string& key : keys) {
    std::vector<TableCell> row = {{key}};
    std::set<std::string> values;
    for (const ReportRun& run : input.runs) {
      if (!run.config.empty()) values.insert(run.setting(key, "-"));
    }
    if (values.size() < 2) continue;
    for (const RunGroup& group : input.grouping.groups)
      row.push_back({values_of(input, group, key)});
    table.add_row(std::move(row));
  }
  if (table.rows.empty()) {
    section.absent = "All configs are the same.";
    return section;
  }
  section.lead =
      fmt::format("{} of {} keys; the others are the same in all runs that have a config.",
                  table.rows.size(), keys.size());
  section.tables.push_back(std::move(table));
  return section;
}

ReportSection reproduction_section(const SectionInput& input) {
  ReportSection section{.id = "reproduction", .title = "Reproduction"};
  Table table{
      .id = "reproduction",
      .title = "Builds, machines and commands",
      .columns = {{"run", "run", true},
                  {"source", "source", true},
                  {"seed", "seed", true},
                  {"time", "started (UTC)", true},
                  {"revision", "revision", true},
                  {"compiler", "compiler", true},
                  {"cpu", "processor", true},
                  {"threads", "threads", true},
                  {"gpu", "GPU", true},
                  {"ranks", "ranks", true},
                  {"data", "data", true},
                  {"command", "command", true}},
      .note = "The config of a run is resolved: it holds every value, and needs no overrides."};
  for (std::size_t r = 0; r < input.runs.size(); ++r) {
    const ReportRun& run = input.runs[r];
    const nlohmann::json& machine = run.machine;
    const std::string command =
        run.config.empty()
            ? "-"
            : fmt::format("headgate train {} --run NEW", (run.path / "config.yaml").string());
    table.add_row({{run.name},
                   {run.source},
                   {run.config.empty() ? "-" : run.seed()},
                   {fact(machine, {"time"})},
                   {fact(machine, {"headgate", "revision"})},
                   {fact(machine, {"headgate", "compiler"})},
                   {fact(machine, {"cpu", "model"})},
                   {fact(machine, {"cpu", "threads"})},
                   {fact(machine, {"gpu", "name"})},
                   {ranks_of(machine)},
                   {run.setting("data.train", "-")},
                   {command}});
    table.families.push_back(static_cast<int>(input.group_of(r).family));
  }
  section.tables.push_back(std::move(table));
  for (const RunGroup& group : input.grouping.groups) {
    const ReportRun& run = input.runs[group.runs.front()];
    if (!run.config_text.empty())
      section.attachments.push_back({run.name + "/config.yaml", run.config_text});
  }
  constexpr std::size_t kMostEvents = 300;
  Table events{.id = "events",
               .title = "What runs said",
               .columns = {{"run", "run", true}, {"step", "step"}, {"text", "event", true}}};
  for (const ReportRun& run : input.runs) {
    for (const auto& [step, text] : run.events) {
      if (events.rows.size() == kMostEvents)
        events.note = fmt::format("The first {} are shown.", kMostEvents);
      if (events.rows.size() < kMostEvents)
        events.add_row({{run.name}, number_cell(static_cast<double>(step), "{}"), {text}});
    }
  }
  if (!events.rows.empty()) section.tables.push_back(std::move(events));
  return section;
}

}  // namespace hg
