#include "train/checkpoint/continuity.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/log.h"
#include "train/spikes/loss_series.h"

namespace hg {

namespace fs = std::filesystem;

std::vector<LossPoint> losses_behind(const fs::path& folder, const TrainState& state,
                                     std::int64_t tokens_per_step, std::size_t most) {
  std::map<std::int64_t, LossPoint> points;
  for (const char* name : {"metrics.jsonl", kInterruptedLosses}) {
    const fs::path file = folder / name;
    if (!fs::exists(file)) continue;
    for (const LossPoint& point : parse_loss_json_lines(read_file(file), file.string()).points) {
      const std::int64_t ahead = point.step - state.step;
      if (ahead > 0 && point.tokens == state.tokens + ahead * tokens_per_step)
        points[point.step] = point;
    }
  }
  std::vector<LossPoint> result;
  for (const auto& [step, point] : points) {
    const bool next = step == state.step + std::ssize(result) + 1;
    if (!next || !std::isfinite(point.loss) || result.size() == most) break;
    result.push_back(point);
  }
  return result;
}

void keep_losses(const fs::path& folder, std::span<const LossPoint> losses) {
  const fs::path file = folder / kInterruptedLosses;
  std::string lines;
  for (const LossPoint& point : losses) {
    const nlohmann::ordered_json line = {
        {"step", point.step}, {"tokens", point.tokens}, {"loss", point.loss}};
    lines += line.dump() + "\n";
  }
  if (!lines.empty()) return write_file(file, lines);
  std::error_code error;
  fs::remove(file, error);
  HG_CHECK(!error, "{}: cannot remove it: {}", file.string(), error.message());
}

void ContinuityHook::after_step(Trainer& trainer, const StepResult& result) {
  if (next_ >= before_.size()) return;
  const LossPoint& before = before_[next_++];
  const double off = std::abs(result.loss / before.loss - 1);
  if (next_ == 1) {
    HG_CHECK(off <= kMost,
             "step {}: the loss is {}, and was {} before the run was interrupted: the checkpoint, "
             "the data or the machine is not what it was; remove {} to go on all the same",
             result.step, result.loss, before.loss, (folder_ / kInterruptedLosses).string());
    keep_losses(folder_, {});
  }
  if (repeats_ == Repeats::bits && result.loss != before.loss) {
    conclude(trainer, fmt::format("step {}: the loss is {}, and was {} before the run was "
                                  "interrupted: {:.1e} off, where bits should repeat",
                                  result.step, result.loss, before.loss, off));
    next_ = before_.size();
  } else if (next_ == before_.size()) {
    conclude(trainer, fmt::format("{} steps computed once more have the losses that they had{}",
                                  next_, repeats_ == Repeats::bits ? ", bit for bit" : ", about"));
  }
}

void ContinuityHook::conclude(const Trainer& trainer, std::string sentence) {
  log_info("{}", sentence);
  write_row(sinks_, trainer, "event", {}, {{"resumed", std::move(sentence)}});
}

}  // namespace hg
