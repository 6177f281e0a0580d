// What a run measures, and where it goes: JSON lines (the source of truth), TensorBoard, console.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/file.h"
#include "train/metrics/tensorboard.h"

namespace hg {

/// Names that more than one place needs; docs/metrics.md defines them. Those of steps are
/// torchtitan's, and mean what they do there, so that dashboards made for it fit: speeds are of one
/// device, which is a rank.
namespace metric {
inline constexpr char kLoss[] = "loss_metrics/global_avg_loss";
inline constexpr char kMaxLoss[] = "loss_metrics/global_max_loss";
inline constexpr char kValidationLoss[] = "validation_metrics/loss";
inline constexpr char kLearningRate[] = "lr";
inline constexpr char kGradNorm[] = "grad_norm";
inline constexpr char kSkipped[] = "guard/update_skipped";  // 1, or not there
inline constexpr char kMemoryGiB[] = "memory/max_reserved(GiB)";
inline constexpr char kMemoryPercent[] = "memory/max_reserved(%)";
inline constexpr char kTokensPerSecond[] = "throughput(tps)";
inline constexpr char kTotalTokensPerSecond[] = "throughput/total(tps)";  // of all ranks
inline constexpr char kTflops[] = "tflops";  // 10^12 model FLOPs per second
inline constexpr char kMfu[] = "mfu(%)";     // model FLOPs, of what the hardware could do
inline constexpr char kDataLoading[] = "time_metrics/data_loading(%)";
inline constexpr char kStepSeconds[] = "time_metrics/step(s)";
inline constexpr char kClipRate[] = "clip_rate(%)";
inline constexpr char kTokens[] = "tokens";
// Of looks, over all layers; those of a layer have "/layers.N" behind them.
inline constexpr char kFirstToken[] = "attention/first_token";
inline constexpr char kMaxLogit[] = "attention/max_logit";
inline constexpr char kGateMean[] = "gate/mean";
inline constexpr char kGateBelow01[] = "gate/below_0.1";
inline constexpr char kMAct[] = "activation/m_act";
inline constexpr char kMaxActivation[] = "activation/max";
inline constexpr char kMaxLoad[] = "moe/max_load";
inline constexpr char kLoadEntropy[] = "moe/load_entropy";
inline constexpr char kDeadExperts[] = "moe/dead_experts";
}  // namespace metric

/// Values that belong to one step.
struct MetricRow {
  std::int64_t step = 0;    ///< optimizer steps done
  std::int64_t tokens = 0;  ///< tokens trained on until then
  double time = 0;          ///< seconds since 1970
  std::string kind;         ///< "train", "val", "instruments", "spikes", "ranks", "event" or "run"
  std::vector<NamedValue> values = {};                          ///< names with '/' between groups
  std::vector<std::pair<std::string, std::string>> texts = {};  ///< what is no number
  std::vector<NamedHistogram> histograms = {};                  ///< for TensorBoard alone
};

class MetricsSink {
 public:
  virtual ~MetricsSink() = default;
  virtual void write(const MetricRow& row) = 0;
  /// Takes back the rows after `step`: the run goes on from there.
  virtual void forget_after(std::int64_t /*step*/) {}
  /// Makes what was written durable.
  virtual void flush() {}
};

/// Removes the rows after `step`, atomically, and returns how many there were: before a run resumes
/// at a checkpoint, so that no step appears twice. So does half a row at the end, left by a crash.
/// No file, no rows.
std::int64_t drop_rows_after(const std::filesystem::path& path, std::int64_t step);
/// The same of a file that is being written, which goes on behind the rows that stay.
std::int64_t drop_rows_after(AppendFile& file, std::int64_t step);

/// Appends a line per row to a file:
///   {"step":22,"tokens":5632,"time":1700000000.5,"kind":"train","grad_norm":0.59,...}
/// JSON has no NaN or infinity: both become null. A name may stand once in a row.
class JsonLinesSink : public MetricsSink {
 public:
  explicit JsonLinesSink(const std::filesystem::path& path)
      : file_(path, AppendFile::Open::create_or_append) {}
  void write(const MetricRow& row) override;
  void forget_after(std::int64_t step) override { drop_rows_after(file_, step); }
  void flush() override { file_.sync(); }

 private:
  AppendFile file_;
};

/// The line that JsonLinesSink writes, without its end.
std::string json_line(const MetricRow& row);

/// Values become scalars, texts become text summaries.
class TensorBoardSink : public MetricsSink {
 public:
  /// See TensorBoardWriter; a run that resumes at step s gives s + 1.
  TensorBoardSink(const std::filesystem::path& folder, std::int64_t first_step)
      : writer_(folder, first_step) {}
  void write(const MetricRow& row) override;
  /// By the start of another file.
  void forget_after(std::int64_t step) override;
  void flush() override { writer_.sync(); }
  TensorBoardWriter& writer() { return writer_; }

 private:
  TensorBoardWriter writer_;
};

/// Passes on one line per row that has something to say to a person; of training steps the first
/// and every `interval`th.
class ConsoleSink : public MetricsSink {
 public:
  explicit ConsoleSink(std::function<void(const std::string&)> print, std::int64_t interval = 1)
      : interval_(interval), print_(std::move(print)) {}
  void write(const MetricRow& row) override;

 private:
  std::int64_t interval_;
  std::function<void(const std::string&)> print_;
};

/// The line in torchtitan's shape, of those of its values that the row has, then the texts; empty
/// if there are none:
///   step: 22  loss: 2.91027  grad_norm: 0.5926  memory: 9.46GiB(64.99%)  tps: 7,094  tflops: 0.51
///   mfu: 0.16%
/// With several ranks "tps: 7,094 (28,376 of all)".
/// Rows of kind "val" start with "validate step:", those of kind "instruments" with "look step:"
/// (mean gate score, first-token share, largest activation; of experts the busiest one's load, the
/// load entropy and how many are dead).
std::string console_line(const MetricRow& row);

}  // namespace hg
