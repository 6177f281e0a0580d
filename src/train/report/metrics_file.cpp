#include "train/report/metrics_file.h"

#include <simdjson.h>
#include <limits>
#include <unordered_map>

#include "core/check.h"
#include "core/file.h"
#include "train/metrics/json_lines.h"

namespace hg {
namespace {

namespace od = simdjson::ondemand;

/// One row at a time; remembers which names are wanted, and where their series are.
class RowReader {
 public:
  RowReader(MetricsFile& file, const std::function<bool(std::string_view)>& wanted)
      : file_(file), wanted_(wanted) {}

  /// Throws simdjson::simdjson_error if the line is no JSON object; Error if it has no step.
  void read(simdjson::padded_string_view line, const std::string& path, std::int64_t number) {
    values_.clear();
    texts_.clear();
    std::optional<double> step;
    std::string kind;
    od::document row = parser_.iterate(line);
    for (od::field field : row.get_object()) {
      const std::string_view key = field.unescaped_key();
      od::value value = field.value();
      switch (value.type()) {
        case od::json_type::number:
          if (key == "step") {
            step = value.get_double();
          } else if (Series* series = find(key)) {
            values_.emplace_back(series, value.get_double());
          }
          break;
        case od::json_type::null:
          HG_CHECK(value.is_null(), "{}:{}: expected null", path, number);
          if (Series* series = find(key))
            values_.emplace_back(series, std::numeric_limits<double>::quiet_NaN());
          break;
        case od::json_type::string: {
          const std::string name(key);
          const std::string_view text = value.get_string();
          if (name == "kind") {
            kind = text;
          } else {
            texts_.emplace_back(name, text);
          }
          break;
        }
        default:
          break;  // details, which are not here
      }
    }
    HG_CHECK(step && *step >= 0, "{}:{}: expected a \"step\" from 0 on", path, number);
    for (const auto& [series, value] : values_) {
      // Every row says how many tokens there were until then; once for each step is enough.
      if (series != tokens_ || kind == "train") series->add(*step, value);
    }
    if (kind != "event") return;
    for (const auto& [name, text] : texts_) {
      if (name != "checkpoint")
        file_.events.emplace_back(static_cast<std::int64_t>(*step), name + ": " + text);
    }
  }

 private:
  /// Null if `name` is not wanted.
  Series* find(std::string_view name) {
    const auto known = series_.find(name);
    if (known != series_.end()) return known->second;
    Series* series = wanted_(name) ? &file_.series[std::string(name)] : nullptr;
    series_.emplace(name, series);
    if (name == "tokens") tokens_ = series;
    return series;
  }

  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  MetricsFile& file_;
  const std::function<bool(std::string_view)>& wanted_;
  od::parser parser_;
  std::unordered_map<std::string, Series*, Hash, std::equal_to<>> series_;
  Series* tokens_ = nullptr;
  std::vector<std::pair<Series*, double>> values_;
  std::vector<std::pair<std::string, std::string>> texts_;
};

}  // namespace

MetricsFile read_metrics_file(const std::filesystem::path& path,
                              const std::function<bool(std::string_view)>& wanted) {
  const MappedFile mapped(path);
  const std::string_view rows(reinterpret_cast<const char*>(mapped.bytes().data()),
                              mapped.bytes().size());
  MetricsFile file;
  RowReader reader(file, wanted);
  for_each_line(rows, [&](std::string_view line, std::int64_t number) {
    // simdjson may read so far behind a line, which the rest of the file allows but at its end.
    const auto room = static_cast<std::size_t>(rows.data() + rows.size() - line.data());
    const bool padded = room >= line.size() + simdjson::SIMDJSON_PADDING;
    const simdjson::padded_string copy =
        padded ? simdjson::padded_string() : simdjson::padded_string(line);
    try {
      reader.read(padded ? simdjson::padded_string_view(line.data(), line.size(), room)
                         : simdjson::padded_string_view(copy),
                  path.string(), number);
    } catch (const simdjson::simdjson_error& error) {
      HG_CHECK(line.end() == rows.end(), "{}:{}: is not JSON ({})", path.string(), number,
               error.what());
      file.unfinished = number;
    }
  });
  for (auto& [name, series] : file.series) put_in_order(series);
  return file;
}

}  // namespace hg
