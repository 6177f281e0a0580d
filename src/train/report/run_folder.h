// Reading the folder that a run of headgate wrote.
#pragma once

#include <filesystem>

#include "train/report/run_record.h"

namespace hg {

/// Reads metrics.jsonl, and config.yaml, machine.json, the last lines of instruments.jsonl and
/// events.jsonl, and attention_maps.svg as far as they are there. Throws if there is no training
/// step in it, or if a file cannot be read: half a run is no run. Also judges spikes, which takes
/// every step.
ReportRun read_run_folder(const std::filesystem::path& folder);

/// The parts of it.
/// Values by path, "optimizer.lr": "0.003", of a YAML file with maps, scalars and lists.
std::map<std::string, std::string> flat_yaml(const std::string& yaml, const std::string& name);
/// Fills in spikes and scores from loss and gradient norm.
void judge_spikes(ReportRun& run);
/// Names that a report draws or counts with.
bool is_drawn(std::string_view metric);

}  // namespace hg
