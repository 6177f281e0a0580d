#include "train/sweep/sweep_results.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <span>

#include "core/file.h"

namespace hg {
namespace {

using Json = nlohmann::ordered_json;

Json json_number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

LrPoint lr_point(const SweepPoint& point, const PointResult& result) {
  const bool diverged = result.status == PointStatus::diverged;
  return {.lr = point.config.optimizer.lr,
          .seed = point.config.training.seed,
          .ended = diverged || result.status == PointStatus::finished,
          .diverged = diverged,
          .loss = result.final_validation_loss,
          .initial = result.initial_loss};
}

/// A field of a CSV (RFC 4180), in quotes where it must be.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

std::string csv_field(const Json& value) {
  return csv_field(value.is_string() ? value.get<std::string>() : value.dump());
}

/// As in JSON; nothing where that has null.
std::string csv_number(double value) { return std::isfinite(value) ? Json(value).dump() : ""; }

/// Whether the CSV has a column for an axis: bundles are in the variant, the rest has its own.
bool has_column(const SweepAxis& axis) {
  return axis.kind == SweepAxis::Kind::key && !axis.within_variant();
}

std::string text_number(double value, const char* format) {
  return std::isfinite(value) ? fmt::format(fmt::runtime(format), value) : "-";
}

}  // namespace

SweepResults read_results(const Sweep& sweep) {
  SweepResults results;
  for (const SweepPoint& point : sweep.points) {
    const auto path = sweep.result_file(point);
    results.push_back(std::filesystem::exists(path) ? read_result(path) : PointResult());
  }
  return results;
}

std::vector<VariantSummary> summarize_variants(const Sweep& sweep, const SweepResults& results) {
  std::vector<std::string> names;
  std::map<std::string, std::vector<LrPoint>> points;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const SweepPoint& point = sweep.points[i];
    if (!points.contains(point.variant)) names.push_back(point.variant);
    points[point.variant].push_back(lr_point(point, results[i]));
  }
  std::vector<VariantSummary> summaries;
  for (const std::string& name : names) summaries.push_back({name, summarize_lrs(points[name])});
  return summaries;
}

Json sweep_json(const Sweep& sweep, const SweepResults& results) {
  Json axes = Json::array();
  for (const SweepAxis& axis : sweep.axes) {
    Json values = Json::array();
    for (const AxisValue& value : axis.values) values.push_back(value.value);
    axes.push_back({{"key", axis.name}, {"values", values}});
  }
  Json points = Json::array();
  for (std::size_t i = 0; i < results.size(); ++i) {
    const SweepPoint& point = sweep.points[i];
    Json entry = {{"name", point.name},
                  {"run", "runs/" + point.name},
                  {"values", point.values},
                  {"variant", point.variant},
                  {"lr", point.config.optimizer.lr},
                  {"seed", point.config.training.seed}};
    entry.update(to_json(results[i]));
    points.push_back(std::move(entry));
  }
  Json variants = Json::array();
  for (const auto& [name, lrs] : summarize_variants(sweep, results)) {
    Json range = Json::array();
    if (!lrs.grid.empty()) range = {lrs.grid.front(), lrs.grid.back()};
    variants.push_back({{"name", name},
                        {"best_lr", json_number(lrs.best_lr)},
                        {"best_validation_loss", json_number(lrs.best_loss)},
                        {"largest_stable_lr", json_number(lrs.largest_stable_lr)},
                        {"lr_sensitivity", json_number(lrs.sensitivity)},
                        {"lr_range", range},
                        {"grid", lrs.grid},
                        {"seeds", lrs.seeds}});
  }
  return {{"version", 1}, {"name", sweep.config.name}, {"base", sweep.base},
          {"axes", axes}, {"points", points},          {"variants", variants}};
}

std::string sweep_csv(const Sweep& sweep, const SweepResults& results) {
  std::string csv = "name,variant,lr,seed";
  for (const SweepAxis& axis : sweep.axes) {
    if (has_column(axis)) csv += "," + csv_field(axis.name);
  }
  csv += ",status,reason,steps";
  for (const auto& [name, member] : repeatable_numbers()) csv += fmt::format(",{}", name);
  csv += ",tokens_per_second\r\n";
  for (std::size_t i = 0; i < results.size(); ++i) {
    const SweepPoint& point = sweep.points[i];
    csv += fmt::format("{},{},{},{}", point.name, point.variant, point.config.optimizer.lr,
                       point.config.training.seed);
    for (const SweepAxis& axis : sweep.axes) {
      if (has_column(axis)) csv += "," + csv_field(point.values[axis.name]);
    }
    csv += fmt::format(",{},{},{}", enum_name(results[i].status), csv_field(results[i].reason),
                       results[i].steps);
    for (const auto& [name, member] : repeatable_numbers())
      csv += "," + csv_number(results[i].*member);
    csv += "," + csv_number(results[i].tokens_per_second) + "\r\n";
  }
  return csv;
}

std::string variants_text(const std::vector<VariantSummary>& variants) {
  std::size_t width = 7;
  for (const auto& variant : variants) width = std::max(width, variant.name.size());
  constexpr const char* kLine = "{:<{}} {:>10} {:>10} {:>18} {:>15} {:>16} {:>22} {:>6}\n";
  std::string text =
      fmt::format(fmt::runtime(kLine), "variant", width, "best lr", "val. loss",
                  "largest stable lr", "lr sensitivity", "of each seed", "learning rates", "seeds");
  const auto ends = [](std::span<const double> values, const char* format) {
    if (values.empty() || std::isnan(values.front())) return std::string("-");
    const auto [least, most] = std::ranges::minmax(values);
    return text_number(least, format) + ".." + text_number(most, format);
  };
  for (const auto& [name, lrs] : variants) {
    const std::string range = fmt::format("{} in {}", lrs.grid.size(), ends(lrs.grid, "{:g}"));
    text += fmt::format(fmt::runtime(kLine), name, width, text_number(lrs.best_lr, "{:g}"),
                        text_number(lrs.best_loss, "{:.4f}"),
                        text_number(lrs.largest_stable_lr, "{:g}"),
                        text_number(lrs.sensitivity, "{:.4f}"), ends(lrs.of_seeds, "{:.4f}"),
                        lrs.grid.empty() ? "-" : range, lrs.seeds.size());
  }
  const bool differ = std::ranges::adjacent_find(variants, [](const auto& a, const auto& b) {
                        return a.lrs.grid != b.lrs.grid;
                      }) != variants.end();
  if (differ)
    text +=
        "Variants have ended at different learning rates: their sensitivities do not compare.\n";
  return text;
}

void write_results(const Sweep& sweep, const SweepResults& results) {
  write_file(sweep.folder / "sweep.json", sweep_json(sweep, results).dump(2) + "\n");
  write_file(sweep.folder / "sweep.csv", sweep_csv(sweep, results));
}

}  // namespace hg
