#include "train/spikes/loss_series.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/check.h"
#include "core/file.h"
#include "train/metrics/json_lines.h"
#include "train/metrics/metrics.h"

namespace hg {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
constexpr std::string_view kLossNames[] = {"loss", metric::kLoss, "value"};

struct Row {
  LossPoint point;
  std::int64_t line;
};

LossSeries in_order(std::vector<Row> rows) {
  LossSeries series;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto& [point, line] = rows[i];
    if (!std::isfinite(point.loss)) series.not_finite.add(line);
    if (std::isfinite(point.loss) && point.loss <= 0) series.not_positive.add(line);
    if (i > 0 && point.step < rows[i - 1].point.step) series.unsorted.add(line);
  }
  std::ranges::stable_sort(rows, {}, [](const Row& row) { return row.point.step; });
  for (const auto& [point, line] : rows) {
    const std::int64_t ahead = series.points.empty() ? 1 : point.step - series.points.back().step;
    if (ahead == 0) {
      series.repeated.add(line);
      series.points.back() = point;
      continue;
    }
    if (ahead > 1) series.gaps.add(line);
    series.missing_steps += ahead - 1;
    series.points.push_back(point);
  }
  return series;
}

// ---- Tables

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\"");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\"") - first + 1);
}

std::vector<std::string_view> split(std::string_view line, char separator) {
  std::vector<std::string_view> fields;
  for (std::size_t begin = 0; begin <= line.size();) {
    const std::size_t end = std::min(line.find(separator, begin), line.size());
    fields.push_back(trim(line.substr(begin, end - begin)));
    begin = end + 1;
  }
  return fields;
}

std::optional<double> number_in(std::string_view field) {
  double value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc() || end != field.data() + field.size()) return {};
  return value;
}

/// Where the columns are, from the first line of a table.
struct Columns {
  static constexpr std::size_t kAbsent = std::string_view::npos;

  char separator = ',';
  bool header = false;
  std::size_t count = 0, step = 0, loss = 1, grad_norm = kAbsent;
};

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return 'A' <= c && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

Columns find_columns(std::string_view line, const std::string& place) {
  Columns columns;
  if (line.find(';') != std::string_view::npos) columns.separator = ';';
  if (line.find('\t') != std::string_view::npos) columns.separator = '\t';
  const auto fields = split(line, columns.separator);
  columns.count = fields.size();
  columns.header = !number_in(fields[0]);
  if (!columns.header) {
    HG_CHECK(columns.count == 2 || columns.count == 3,
             "{}: {} columns without a header, expected step, loss and perhaps grad_norm", place,
             columns.count);
    if (columns.count == 3) columns.grad_norm = 2;
    return columns;
  }
  const auto find = [&](std::string_view name) {
    const auto at = std::ranges::find_if(fields, [&](auto f) { return same_name(f, name); });
    return at == fields.end() ? Columns::kAbsent : static_cast<std::size_t>(at - fields.begin());
  };
  columns.step = find("step");
  columns.grad_norm = find(metric::kGradNorm);
  columns.loss = Columns::kAbsent;
  for (const auto name : kLossNames) columns.loss = std::min(columns.loss, find(name));
  HG_CHECK(columns.step != Columns::kAbsent && columns.loss != Columns::kAbsent,
           "{}: expected numbers, or names of columns with 'step' and one of 'loss', '{}', 'value' "
           "among them; found '{}'",
           place, metric::kLoss, line);
  return columns;
}

LossPoint read_table_row(std::string_view line, const Columns& columns, const std::string& place) {
  const auto fields = split(line, columns.separator);
  HG_CHECK(fields.size() == columns.count, "{}: {} columns, expected {}: '{}'", place,
           fields.size(), columns.count, line);
  const auto number = [&](std::size_t column, const char* what) {
    const auto value = number_in(fields[column]);
    HG_CHECK(value, "{}: {} is '{}', expected a number", place, what, fields[column]);
    return *value;
  };
  const double step = number(columns.step, "step");
  HG_CHECK(step >= 0 && step <= 0x1p53 && step == std::floor(step),
           "{}: step is '{}', expected a whole number from 0 on", place, fields[columns.step]);
  LossPoint point{.step = static_cast<std::int64_t>(step), .loss = number(columns.loss, "loss")};
  if (columns.grad_norm != Columns::kAbsent && !fields[columns.grad_norm].empty()) {
    point.grad_norm = number(columns.grad_norm, metric::kGradNorm);
  }
  return point;
}

// ---- JSON lines

/// A number, null for what is not finite, or `absent`.
double number_of(const nlohmann::json& row, std::string_view key, double absent,
                 const std::string& place) {
  const auto at = row.find(key);
  if (at == row.end()) return absent;
  if (at->is_null()) return kUnknown;
  HG_CHECK(at->is_number(), "{}: \"{}\" is {}, expected a number or null", place, key, at->dump());
  return at->get<double>();
}

/// Nothing if the row is of a kind without a loss.
std::optional<LossPoint> read_json_row(const nlohmann::json& row, const std::string& place) {
  HG_CHECK(row.is_object(), "{}: expected a JSON object", place);
  const auto kind = row.find("kind");
  if (kind != row.end() && *kind != "train") return {};
  const auto step = row.find("step");
  HG_CHECK(step != row.end() && step->is_number_integer() && *step >= 0,
           "{}: expected a whole number from 0 on as \"step\"", place);
  const std::string_view* name =
      std::ranges::find_if(kLossNames, [&](auto key) { return row.contains(key); });
  HG_CHECK(name != std::end(kLossNames), "{}: expected a \"{}\" or \"loss\"", place, metric::kLoss);
  const double tokens = number_of(row, "tokens", 0, place);
  return LossPoint{.step = step->get<std::int64_t>(),
                   .loss = number_of(row, *name, kUnknown, place),
                   .grad_norm = number_of(row, metric::kGradNorm, kUnknown, place),
                   .tokens = std::isnan(tokens) ? 0 : static_cast<std::int64_t>(tokens)};
}

}  // namespace

void LossSeries::Lines::add(std::int64_t line) {
  if (count++ < static_cast<std::int64_t>(kMost)) first.push_back(line);
}

LossSeries parse_loss_table(std::string_view text, const std::string& name) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::optional<Columns> columns;
  std::vector<Row> rows;
  for_each_line(text, [&](std::string_view line, std::int64_t number) {
    const std::string place = fmt::format("{}:{}", name, number);
    if (!columns) {
      columns = find_columns(line, place);
      if (columns->header) return;
    }
    rows.push_back({read_table_row(line, *columns, place), number});
  });
  return in_order(std::move(rows));
}

LossSeries parse_loss_json_lines(std::string_view text, const std::string& name) {
  std::vector<Row> rows;
  const auto unfinished =
      for_each_json_line(text, name, [&](const nlohmann::json& row, std::int64_t number) {
        if (const auto point = read_json_row(row, fmt::format("{}:{}", name, number)))
          rows.push_back({*point, number});
      });
  LossSeries series = in_order(std::move(rows));
  if (unfinished) series.unfinished.add(*unfinished);
  return series;
}

LossSeries read_loss_series(const std::filesystem::path& path) {
  const auto file = std::filesystem::is_directory(path) ? path / "metrics.jsonl" : path;
  const std::string text = read_file(file);
  const bool json = text.find_first_not_of(" \t\r\n") == text.find('{') && !text.empty();
  LossSeries series =
      json ? parse_loss_json_lines(text, file.string()) : parse_loss_table(text, file.string());
  HG_CHECK(!series.points.empty(), "{}: no step with a loss in it", file.string());
  return series;
}

}  // namespace hg
