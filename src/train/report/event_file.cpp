#include "train/report/event_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "core/file.h"
#include "train/metrics/metrics.h"
#include "train/metrics/tensorboard.h"
#include "train/report/protobuf_reader.h"
#include "train/report/run_folder.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

struct Event {
  double step = 0;
  bool session_start = false;
  std::vector<NamedValue> scalars;
};

/// TensorProto {dtype = 1, tensor_content = 4, float_val = 5, double_val = 6}: nothing unless it
/// holds one floating-point number.
std::optional<double> tensor_number(std::string_view bytes) {
  constexpr std::uint64_t kFloat = 1, kDouble = 2;
  std::uint64_t type = 0;
  std::string_view content;
  for_each_field(bytes, [&](int field, const ProtobufValue& value) {
    if (field == 1) type = value.number;
    if (field == 4 || field == 5 || field == 6) content = value.bytes;
  });
  if (type == kFloat && content.size() == sizeof(float)) return read_bytes<float>(content);
  if (type == kDouble && content.size() == sizeof(double)) return read_bytes<double>(content);
  return {};
}

/// Summary.Value {tag = 1, simple_value = 2, tensor = 8}
std::optional<NamedValue> read_scalar(std::string_view bytes) {
  std::string tag;
  std::optional<double> number;
  for_each_field(bytes, [&](int field, const ProtobufValue& value) {
    if (field == 1) tag = value.bytes;
    if (field == 2) number = read_bytes<float>(value.bytes);
    if (field == 8) number = tensor_number(value.bytes);
  });
  return number ? std::optional(NamedValue{std::move(tag), *number}) : std::nullopt;
}

/// Event {step = 2, summary = 5: {value = 1}, session_log = 7: {status = 1}}
Event read_event(std::string_view bytes) {
  constexpr std::uint64_t kStart = 1;
  Event event;
  for_each_field(bytes, [&](int field, const ProtobufValue& value) {
    if (field == 2) event.step = static_cast<double>(value.number);
    if (field == 5) {
      for_each_field(value.bytes, [&](int inner, const ProtobufValue& summary) {
        if (inner != 1) return;
        if (auto scalar = read_scalar(summary.bytes)) event.scalars.push_back(std::move(*scalar));
      });
    }
    if (field == 7) {
      for_each_field(value.bytes, [&](int inner, const ProtobufValue& log) {
        if (inner == 1 && log.number == kStart) event.session_start = true;
      });
    }
  });
  return event;
}

/// Calls f(event) for each record: u64 length | u32 its checksum | event | u32 its checksum.
/// Returns whether the file ends within a record.
bool for_each_event(std::string_view file, const std::string& name, auto&& f) {
  constexpr std::size_t kHead = 12, kTail = 4;
  for (std::size_t at = 0; at < file.size();) {
    const std::string_view rest = file.substr(at);
    if (rest.size() < kHead) return true;
    const auto checksum_fits = [&](std::string_view bytes, std::size_t behind) {
      return read_bytes<std::uint32_t>(rest.substr(behind, 4)) == tensorboard::masked_crc32c(bytes);
    };
    HG_CHECK(checksum_fits(rest.substr(0, 8), 8),
             "{}: no record of an event file at byte {}: the checksum of its length is wrong", name,
             at);
    const auto length = read_bytes<std::uint64_t>(rest.substr(0, 8));
    if (rest.size() - kHead < kTail || length > rest.size() - kHead - kTail) return true;
    const std::string_view event = rest.substr(kHead, length);
    HG_CHECK(checksum_fits(event, kHead + length),
             "{}: the checksum of the record at byte {} is wrong", name, at);
    f(read_event(event));
    at += kHead + length + kTail;
  }
  return false;
}

void forget_from(EventScalars& scalars, double step) {
  for (auto& [tag, series] : scalars.series) {
    Series kept;
    for (std::size_t i = 0; i < series.size(); ++i) {
      if (series.steps[i] < step) kept.add(series.steps[i], series.values[i]);
    }
    series = std::move(kept);
  }
}

bool same_tag(std::string_view a, std::string_view b) {
  const auto plain = [](char c) {
    if (c == '-' || c == ' ') return '_';
    return 'A' <= c && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  return std::ranges::equal(a, b, {}, plain, plain);
}

/// The first of `names` that is a tag, whatever its case, '-' and blank as '_'; null if none is.
const Series* find_series(const EventScalars& scalars, std::span<const std::string_view> names) {
  for (const std::string_view name : names) {
    for (const auto& [tag, series] : scalars.series) {
      if (same_tag(tag, name)) return &series;
    }
  }
  return nullptr;
}

constexpr std::string_view kLossTags[] = {metric::kLoss,   "train/loss",    "loss/train",
                                          "train_loss",    "lm loss",       "loss",
                                          "train/CE loss", "train/ce_loss", "training_loss"};
constexpr std::string_view kGradNormTags[] = {metric::kGradNorm, "train/grad_norm", "grad-norm",
                                              "optim/total_grad_norm", "gradient_norm"};
constexpr std::string_view kValidationTags[] = {
    metric::kValidationLoss, "val/loss",       "loss/val", "val_loss", "eval/loss", "eval_loss",
    "lm loss validation",    "validation_loss"};
constexpr std::string_view kRateTags[] = {metric::kLearningRate, "train/lr", "learning-rate",
                                          "train/learning_rate"};

const Series& choose_loss(const EventScalars& scalars, const std::optional<std::string>& loss_tag,
                          const std::string& name) {
  std::string tags;
  for (const auto& [tag, series] : scalars.series) tags += (tags.empty() ? "" : ", ") + tag;
  HG_CHECK(!tags.empty(), "{}: no scalar in it", name);
  if (loss_tag) {
    const auto at = scalars.series.find(*loss_tag);
    HG_CHECK(at != scalars.series.end(), "{}: no tag '{}'; there are {}", name, *loss_tag, tags);
    return at->second;
  }
  const Series* loss = find_series(scalars, kLossTags);
  if (loss == nullptr && scalars.series.size() == 1) loss = &scalars.series.begin()->second;
  HG_CHECK(loss != nullptr, "{}: no tag that is known to be a loss; name one with --loss-tag: {}",
           name, tags);
  return *loss;
}

}  // namespace

bool is_event_file(const fs::path& path) {
  return path.filename().string().find("tfevents") != std::string::npos;
}

EventScalars read_event_scalars(const fs::path& path) {
  std::vector<fs::path> files = {path};
  if (fs::is_directory(path)) {
    files.clear();
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.is_regular_file() && is_event_file(entry.path())) files.push_back(entry.path());
    }
    std::ranges::sort(files);
    HG_CHECK(!files.empty(), "{}: no event file of TensorBoard in it", path.string());
  }
  EventScalars scalars;
  for (const fs::path& file : files) {
    const bool half = for_each_event(read_file(file), file.string(), [&](Event event) {
      if (event.session_start) forget_from(scalars, event.step);
      for (const auto& [tag, value] : event.scalars) {
        const double unknown = std::numeric_limits<double>::quiet_NaN();
        scalars.series[tag].add(event.step, std::isfinite(value) ? value : unknown);
      }
    });
    if (half)
      scalars.remarks.push_back(file.filename().string() +
                                " ends within a record, left by a crash: passed over");
  }
  for (auto& [tag, series] : scalars.series) put_in_order(series);
  std::erase_if(scalars.series, [](const auto& entry) { return entry.second.empty(); });
  return scalars;
}

ReportRun read_event_run(const fs::path& path, const std::optional<std::string>& loss_tag) {
  EventScalars scalars = read_event_scalars(path);
  ReportRun run;
  run.path = path;
  const fs::path whole = fs::weakly_canonical(path);
  fs::path folder = is_event_file(whole) ? whole.parent_path() : whole;
  if (folder.filename() == "tensorboard") folder = folder.parent_path();  // a run's own
  run.name = folder.filename().string();
  run.source = "TensorBoard";
  run.remarks = std::move(scalars.remarks);
  run.remarks.push_back("read from TensorBoard's files: on which data it was trained is unknown");
  for (const auto& [tag, series] : scalars.series) {
    if (is_drawn(tag)) run.series[tag] = series;
  }
  run.series[metric::kLoss] = choose_loss(scalars, loss_tag, path.string());
  const auto rename = [&](const char* metric, std::span<const std::string_view> names) {
    if (const Series* found = find_series(scalars, names)) run.series[metric] = *found;
  };
  rename(metric::kGradNorm, kGradNormTags);
  rename(metric::kValidationLoss, kValidationTags);
  rename(metric::kLearningRate, kRateTags);
  run.status = status_of(run);
  judge_spikes(run);
  return run;
}

}  // namespace hg
