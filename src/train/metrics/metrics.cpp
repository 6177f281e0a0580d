#include "train/metrics/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "core/check.h"

namespace hg {
namespace {

using Json = nlohmann::ordered_json;

/// "1,234,567"
std::string with_commas(double value) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  std::string digits = fmt::format("{:.0f}", value);
  const std::ptrdiff_t first = digits.starts_with('-') ? 2 : 1;
  for (auto at = std::ssize(digits) - 3; at >= first; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return digits;
}

std::optional<double> find(const MetricRow& row, std::string_view name) {
  for (const auto& [key, value] : row.values) {
    if (key == name) return value;
  }
  return {};
}

/// The step of a line of a metrics file.
std::int64_t step_of(std::string_view line, const std::string& path, std::int64_t number) {
  constexpr std::string_view kStart = R"({"step":)";
  std::int64_t step = 0;
  if (line.starts_with(kStart) && line.ends_with('}')) {  // as json_line writes it
    const char* end = line.data() + line.size();
    const auto result = std::from_chars(line.data() + kStart.size(), end, step);
    if (result.ec == std::errc() && (*result.ptr == ',' || result.ptr + 1 == end)) return step;
  }
  const Json row = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  HG_CHECK(row.is_object() && row.contains("step") && row["step"].is_number_integer(),
           "{}:{}: expected a JSON object with an integer \"step\"", path, number);
  return row["step"].get<std::int64_t>();
}

}  // namespace

std::string json_line(const MetricRow& row) {
  std::set<std::string_view> names;
  std::string line;
  const auto add = [&](std::string_view name, const Json& value) {
    HG_CHECK(names.insert(name).second, "metric '{}' appears twice at step {}", name, row.step);
    // Text may hold bytes of generated tokens: what is no UTF-8 becomes U+FFFD.
    const auto dump = [](const Json& json) {
      return json.dump(-1, ' ', false, Json::error_handler_t::replace);
    };
    line += fmt::format("{}{}:{}", line.empty() ? '{' : ',', dump(name), dump(value));
  };
  add("step", row.step);
  add("tokens", row.tokens);
  add("time", row.time);
  add("kind", row.kind);
  for (const auto& [name, value] : row.values) add(name, value);  // dumps NaN and infinity as null
  for (const auto& [name, text] : row.texts) add(name, text);
  return line + '}';
}

void JsonLinesSink::write(const MetricRow& row) { file_.write(json_line(row) + '\n'); }

std::int64_t drop_rows_after(const std::filesystem::path& path, std::int64_t step) {
  if (!std::filesystem::exists(path)) return 0;
  const std::string content = read_file(path);
  std::string kept;
  kept.reserve(content.size());
  std::int64_t number = 0, dropped = 0;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    const std::string_view line(content.data() + begin, end - begin);
    ++number;
    const bool complete = end < content.size();
    if (complete && step_of(line, path.string(), number) <= step) {
      kept.append(line).push_back('\n');
    } else {
      ++dropped;
    }
    begin = end + 1;
  }
  if (dropped > 0) write_file(path, kept);
  return dropped;
}

std::int64_t drop_rows_after(AppendFile& file, std::int64_t step) {
  const std::filesystem::path path = file.path();
  const std::int64_t dropped = drop_rows_after(path, step);
  // What stays may be a new file of the same name.
  file = AppendFile(path, AppendFile::Open::create_or_append);
  return dropped;
}

void TensorBoardSink::forget_after(std::int64_t step) {
  const std::filesystem::path folder = writer_.path().parent_path();
  writer_ = TensorBoardWriter(folder, step + 1);
}

void TensorBoardSink::write(const MetricRow& row) {
  writer_.scalars(row.time, row.step, row.values);
  for (const auto& [tag, text] : row.texts) writer_.text(row.time, row.step, tag, text);
  for (const auto& [tag, histogram] : row.histograms)
    writer_.histogram(row.time, row.step, tag, histogram);
}

void ConsoleSink::write(const MetricRow& row) {
  const bool steady = row.kind == "train" || row.kind == "instruments";
  if (steady && row.step != 1 && row.step % interval_ != 0) return;
  const std::string line = console_line(row);
  if (!line.empty()) print_(line);
}

std::string console_line(const MetricRow& row) {
  std::string line;
  const auto loss = find(row, row.kind == "val" ? metric::kValidationLoss : metric::kLoss);
  if (loss) line += fmt::format("  loss: {:.5f}", *loss);
  if (const auto x = find(row, metric::kGradNorm)) line += fmt::format("  grad_norm: {:.4f}", *x);
  if (const auto x = find(row, metric::kMemoryGiB)) {
    line += fmt::format("  memory: {:.2f}GiB", *x);
    if (const auto p = find(row, metric::kMemoryPercent)) line += fmt::format("({:.2f}%)", *p);
  }
  if (const auto x = find(row, metric::kTokensPerSecond))
    line += fmt::format("  tps: {}", with_commas(*x));
  if (const auto x = find(row, metric::kTotalTokensPerSecond);
      x && x != find(row, metric::kTokensPerSecond))
    line += fmt::format(" ({} of all)", with_commas(*x));
  if (const auto x = find(row, metric::kTflops)) line += fmt::format("  tflops: {:.2f}", *x);
  if (const auto x = find(row, metric::kMfu)) line += fmt::format("  mfu: {:.2f}%", *x);
  if (const auto x = find(row, metric::kGateMean)) line += fmt::format("  gate: {:.3f}", *x);
  if (const auto x = find(row, metric::kGateBelow01))
    line += fmt::format(" ({:.1f}% below 0.1)", 100 * *x);
  if (const auto x = find(row, metric::kFirstToken))
    line += fmt::format("  first_token: {:.1f}%", 100 * *x);
  if (const auto x = find(row, metric::kMaxActivation))
    line += fmt::format("  max_act: {:.1f}", *x);
  if (const auto x = find(row, metric::kMaxLoad)) line += fmt::format("  max_load: {:.2f}", *x);
  if (const auto x = find(row, metric::kLoadEntropy))
    line += fmt::format("  load_entropy: {:.3f}", *x);
  if (const auto x = find(row, metric::kDeadExperts))
    line += fmt::format("  dead_experts: {:.0f}", *x);
  if (const auto least = find(row, "rank_time/min(s)")) {
    line += fmt::format("  {:.3f} to {:.3f} s a step  slowest: rank {:.0f}  waiting: {:.1f}%",
                        *least, *find(row, "rank_time/max(s)"), *find(row, "rank_time/slowest"),
                        *find(row, "time_metrics/waiting_for_ranks(%)"));
  }
  for (const auto& [name, text] : row.texts) line += fmt::format("  {}: {}", name, text);
  if (line.empty()) return line;
  const char* what = row.kind == "val"           ? "validate "
                     : row.kind == "instruments" ? "look "
                     : row.kind == "ranks"       ? "ranks "
                                                 : "";
  return fmt::format("{}step: {}{}", what, row.step, line);
}

}  // namespace hg
