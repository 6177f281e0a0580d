#include "train/report/sweep_file.h"

#include "core/check.h"
#include "core/file.h"
#include "data/json_view.h"
#include "train/sweep/lr_sensitivity.h"

namespace hg {
namespace {

std::optional<double> number_in(const JsonView& view) {
  return view.is_null() ? std::nullopt : std::optional(view.number());
}

std::string text_in(const JsonView& view) { return view.is_null() ? "" : view.string(); }

ReportedPoint read_point(const JsonView& view, const std::filesystem::path& folder) {
  constexpr std::int64_t kMostSeed = std::numeric_limits<std::int64_t>::max();
  ReportedPoint point{.name = view["name"].string(),
                      .run = folder / view["run"].string(),
                      .variant = text_in(view["variant"]),
                      .lr = number_in(view["lr"]),
                      .status = view["status"].string(),
                      .reason = text_in(view["reason"]),
                      .initial_loss = number_in(view["initial_loss"]),
                      .final_validation_loss = number_in(view["final_validation_loss"])};
  if (!view["seed"].is_null()) point.seed = view["seed"].integer(0, kMostSeed);
  return point;
}

LrPoint lr_point(const ReportedPoint& point) {
  const bool diverged = point.status == "diverged";
  return {.lr = *point.lr,
          .seed = point.seed,
          .ended = diverged || point.status == "finished",
          .diverged = diverged,
          .loss = point.final_validation_loss.value_or(LrSummary::kNone),
          .initial = point.initial_loss.value_or(LrSummary::kNone)};
}

SweepVariant read_variant(const JsonView& view, const std::vector<ReportedPoint>& points) {
  SweepVariant variant{.name = view["name"].string(),
                       .best_lr = number_in(view["best_lr"]),
                       .best_validation_loss = number_in(view["best_validation_loss"]),
                       .largest_stable_lr = number_in(view["largest_stable_lr"]),
                       .lr_sensitivity = number_in(view["lr_sensitivity"])};
  std::vector<LrPoint> own;
  for (const ReportedPoint& point : points) {
    if (point.variant == variant.name && point.lr) own.push_back(lr_point(point));
  }
  LrSummary summary = summarize_lrs(own);
  variant.grid = std::move(summary.grid);
  variant.seeds = std::move(summary.seeds);
  variant.sensitivity_of_seeds = std::move(summary.of_seeds);
  return variant;
}

}  // namespace

SweepFile read_sweep_file(const std::filesystem::path& folder) {
  const std::string file = (folder / "sweep.json").string();
  const nlohmann::json json = parse_json(read_file(file), file);
  const JsonView root(file, json);
  root["version"].expect(1);
  SweepFile sweep{.name = root["name"].string()};
  const JsonView points = root["points"];
  for (std::size_t i = 0; i < points.array_size(); ++i)
    sweep.points.push_back(read_point(points[i], folder));
  const JsonView variants = root["variants"];
  if (variants.is_null()) return sweep;
  for (std::size_t i = 0; i < variants.array_size(); ++i)
    sweep.variants.push_back(read_variant(variants[i], sweep.points));
  return sweep;
}

}  // namespace hg
