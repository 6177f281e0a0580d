#include "train/sweep/point_result.h"

#include <cmath>

#include "core/file.h"
#include "core/median.h"
#include "train/metrics/json_lines.h"
#include "train/metrics/metrics.h"

namespace hg {
namespace {

using Json = nlohmann::ordered_json;

/// A number of a row; NaN if it is null or not there.
double number(const nlohmann::json& row, const char* name) {
  const auto found = row.find(name);
  return found != row.end() && found->is_number() ? found->get<double>() : PointResult::kNone;
}

Json json_number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

}  // namespace

const std::vector<PointNumber>& repeatable_numbers() {
  using R = PointResult;
  static const std::vector<PointNumber> numbers = {
      {"initial_loss", &R::initial_loss},
      {"final_validation_loss", &R::final_validation_loss},
      {"best_validation_loss", &R::best_validation_loss},
      {"final_loss", &R::final_loss},
      {"max_grad_norm", &R::max_grad_norm},
      {"spike_score_olmo2", &R::spike_score_olmo2},
      {"spike_score_olmo2_grad_norm", &R::spike_score_olmo2_grad_norm},
      {"spike_score_core", &R::spike_score_core},
      {"spike_score_core_grad_norm", &R::spike_score_core_grad_norm},
      {"spikes_median201_per_10k", &R::spikes_median201_per_10k},
      {"spike_events", &R::spike_events},
      {"first_token_share", &R::first_token_share},
      {"gate_mean", &R::gate_mean},
      {"max_activation", &R::max_activation}};
  return numbers;
}

Json to_json(const PointResult& result) {
  Json json = {
      {"status", enum_name(result.status)}, {"reason", result.reason}, {"steps", result.steps}};
  for (const auto& [name, member] : repeatable_numbers()) json[name] = json_number(result.*member);
  return json;
}

PointResult read_result(const std::filesystem::path& path) {
  PointResult result;
  try {
    const Json json = Json::parse(read_file(path));
    const auto status = json.at("status").get<std::string>();
    for (const auto& [value, name] : EnumNames<PointStatus>::values) {
      if (name == status) result.status = value;
    }
    result.reason = json.at("reason");
    result.steps = json.at("steps");
    const auto take = [&](const char* name, double& value) {
      if (const Json& found = json.at(name); !found.is_null()) value = found;
    };
    for (const auto& [name, member] : repeatable_numbers()) take(name, result.*member);
    take("tokens_per_second", result.tokens_per_second);
  } catch (const Json::exception& error) {
    fail("{}: not a result of a sweep: {}", path.string(), error.what());
  }
  HG_CHECK(result.ended(), "{}: not a result of a sweep: nothing has ended", path.string());
  return result;
}

void write_result(const std::filesystem::path& path, const PointResult& result) {
  Json json = to_json(result);
  json["tokens_per_second"] = json_number(result.tokens_per_second);
  write_file(path, json.dump(2) + "\n");
}

PointTrace::PointTrace(const RunConfig& config, const DivergedConfig& diverged)
    : steps_(config.training.steps),
      validation_interval_(config.validation.interval),
      rule_(diverged, config.training.steps, config.lr_scheduler.warmup_steps,
            std::log(static_cast<double>(config.model.vocab_size))) {}

void PointTrace::add(const nlohmann::json& row) {
  if (diverged_ || !row.is_object()) return;
  const auto kind = row.value("kind", "");
  const auto step = row.value("step", std::int64_t{-1});
  if (kind == "train") {
    add_train(row, step);
  } else if (kind == "val") {
    add_validation(row, step);
  } else if (kind == "instruments") {
    result_.first_token_share = number(row, metric::kFirstToken);
    result_.gate_mean = number(row, metric::kGateMean);
    result_.max_activation = number(row, metric::kMaxActivation);
  }
  diverged_ = rule_.diverged();
}

void PointTrace::add_train(const nlohmann::json& row, std::int64_t step) {
  const double loss = number(row, metric::kLoss), norm = number(row, metric::kGradNorm);
  rule_.add_train(step, loss, norm);
  result_.steps = step;
  result_.final_loss = loss;
  result_.max_grad_norm = std::fmax(result_.max_grad_norm, norm);
  spikes_.add({.step = step, .loss = loss, .grad_norm = norm});
  double rate = number(row, metric::kTotalTokensPerSecond);
  if (std::isnan(rate)) rate = number(row, metric::kTokensPerSecond);  // of older runs: all ranks'
  if (std::isfinite(rate)) rates_.push_back(rate);
}

void PointTrace::add_validation(const nlohmann::json& row, std::int64_t step) {
  if (step % validation_interval_ != 0 && step != steps_) return;
  const double loss = number(row, metric::kValidationLoss);
  rule_.add_validation(step, loss);
  if (step == 0) {
    result_.initial_loss = loss;
    return;
  }
  result_.best_validation_loss = std::fmin(result_.best_validation_loss, loss);
  if (step == steps_) result_.final_validation_loss = loss;
}

void PointTrace::stopped_by_guard() {
  if (!diverged_) diverged_ = {result_.steps + 1, "the guard stopped the run"};
}

PointResult PointTrace::result() const {
  PointResult result = result_;
  const SpikeScores scores = spikes_.scores();
  result.spike_score_olmo2 = scores.olmo2.per(100);
  result.spike_score_olmo2_grad_norm = scores.olmo2_grad_norm.per(100);
  result.spike_score_core = scores.core.per(100);
  result.spike_score_core_grad_norm = scores.core_grad_norm.per(100);
  result.spikes_median201_per_10k = scores.median201.per(1e4);
  if (const SpikeDetector& events = spikes_.events(); events.ready())
    result.spike_events = static_cast<double>(events.ended().size() + events.open().size());
  result.tokens_per_second = median(rates_);
  result.status = result.steps == steps_ ? PointStatus::finished : PointStatus::running;
  if (diverged_) {
    result.status = PointStatus::diverged;
    result.reason = fmt::format("step {}: {}", diverged_->step, diverged_->reason);
  }
  return result;
}

PointTrace trace_run(const std::filesystem::path& run, const RunConfig& config,
                     const DivergedConfig& diverged) {
  PointTrace trace(config, diverged);
  const auto path = run / "metrics.jsonl";
  if (!std::filesystem::exists(path)) return trace;
  for_each_json_line(read_file(path), path.string(),
                     [&](const nlohmann::json& row, std::int64_t) { trace.add(row); });
  return trace;
}

}  // namespace hg
