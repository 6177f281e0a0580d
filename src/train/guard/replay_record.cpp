// Finds a step in the files of a run.
#include "train/guard/replay_record.h"

#include <limits>
#include <optional>

#include "core/file.h"
#include "train/checkpoint/checkpoint_folder.h"
#include "train/metrics/json_lines.h"
#include "train/metrics/metrics.h"

namespace hg {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// A number of a record; NaN for null.
double number(const json& row, const char* name) {
  const json& value = row.at(name);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

/// Calls f(row) for each line of a file, if there is one.
void for_each_row(const fs::path& path, auto&& f) {
  if (!fs::exists(path)) return;
  for_each_json_line(read_file(path), path.string(), [&](const json& row, std::int64_t line) {
    try {
      f(row);
    } catch (const json::exception& e) {
      fail("{}:{}: {}", path.string(), line, e.what());
    }
  });
}

/// The newest of the checkpoints before a step.
fs::path checkpoint_before(const fs::path& folder, std::int64_t step) {
  for (const fs::path& checkpoint : list_checkpoints(folder))
    if (step_of_checkpoint(checkpoint) < step) return checkpoint;
  return {};
}

struct Row {
  RecordedStep step;
  std::int64_t first_sample;
};

/// Steps of metrics.jsonl.
std::map<std::int64_t, Row> read_rows(const RunConfig& config, const fs::path& path) {
  std::map<std::int64_t, Row> rows;
  for_each_row(path, [&](const json& row) {
    if (row.at("kind") != "train") return;
    const std::int64_t samples = row.at("tokens").get<std::int64_t>() / config.training.seq_len;
    rows[row.at("step")] = {.step = {.loss = number(row, metric::kLoss),
                                     .grad_norm = number(row, metric::kGradNorm),
                                     .skipped = row.contains(metric::kSkipped)},
                            .first_sample = samples - config.training.global_batch_size};
  });
  return rows;
}

/// The last event at a step.
std::optional<StepRecord> find_event(const fs::path& folder, std::int64_t step) {
  std::optional<StepRecord> found;
  for_each_row(folder / "events.jsonl", [&](const json& row) {
    if (row.at("step") != step) return;
    found = {.file = "events.jsonl",
             .kind = row.at("kind"),
             .checkpoint = {},
             .first_sample = row.at("first_sample"),
             .recorded = {.loss = number(row, "loss"), .grad_norm = number(row, "grad_norm")},
             .earlier = {}};
    if (const json& name = row.at("checkpoint"); name.is_string())
      found->checkpoint = folder / "checkpoints" / name.get<std::string>();
  });
  return found;
}

}  // namespace

StepRecord find_step_record(const RunConfig& config, const fs::path& folder, std::int64_t step) {
  const auto rows = read_rows(config, folder / "metrics.jsonl");
  auto found = find_event(folder, step);
  if (!found) {
    const auto row = rows.find(step);
    HG_CHECK(row != rows.end(), "{}: neither metrics.jsonl nor events.jsonl has a step {}",
             folder.string(), step);
    found = {.file = "metrics.jsonl",
             .kind = {},
             .checkpoint = checkpoint_before(folder / "checkpoints", step),
             .first_sample = row->second.first_sample,
             .recorded = row->second.step,
             .earlier = {}};
  }
  const std::int64_t batch = config.training.global_batch_size;
  if (found->checkpoint.empty()) {
    HG_CHECK(found->first_sample == (step - 1) * batch,
             "{}: step {} took samples from {} on, not {}: the run has passed samples over before, "
             "and no checkpoint before the step is left",
             folder.string(), step, found->first_sample, (step - 1) * batch);
  } else {
    HG_CHECK(fs::is_directory(found->checkpoint),
             "{}: is gone; step {} was made from it (checkpoint.keep says how many stay)",
             found->checkpoint.string(), step);
    found->start = found->checkpoint.empty() ? 0 : step_of_checkpoint(found->checkpoint);
  }
  for (const auto& [earlier, row] : rows) {
    if (found->start < earlier && earlier < step &&
        row.first_sample == found->first_sample_of(earlier, step, batch))
      found->earlier[earlier] = row.step;
  }
  return *found;
}

}  // namespace hg
