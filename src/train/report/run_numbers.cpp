#include "train/report/run_numbers.h"

#include <numeric>

#include "train/metrics/metrics.h"
#include "train/report/table.h"

namespace hg {
namespace {

constexpr std::size_t kLooks = 10, kSteps = 100;

double share_of(const Share& share, double scale) {
  return share.values > 0 ? share.per(scale) : kNotKnown;
}

/// What was validated behind the first step: the loss before it says nothing of the training.
Series behind_start(const Series& validation) {
  Series behind;
  for (std::size_t i = 0; i < validation.size(); ++i) {
    if (validation.steps[i] > 0) behind.add(validation.steps[i], validation.values[i]);
  }
  return behind;
}

}  // namespace

RunNumbers numbers_of(const ReportRun& run) {
  const Series& loss = run.of(metric::kLoss);
  const Series& validation = run.of(metric::kValidationLoss);
  const Series& seconds = run.of(metric::kStepSeconds);
  const Series behind = behind_start(validation);
  RunNumbers numbers{.steps = loss.empty() ? kNotKnown : loss.steps.back(),
                     .tokens = last_of(run.of(metric::kTokens)),
                     .validation_loss = last_of(behind),
                     .best_validation_loss = least_of(behind),
                     .validation_targets = last_of(run.of(kValidationTargets)),
                     .training_loss = mean_of_last(loss, kSteps),
                     .spike_score_olmo2 = share_of(run.spike_scores.olmo2, 100),
                     .spike_score_core = share_of(run.spike_scores.core, 100),
                     .spikes_median201 = share_of(run.spike_scores.median201, 1e4),
                     .max_grad_norm = most_of(run.of(metric::kGradNorm)),
                     .first_token_share = 100 * mean_of_last(run.of(metric::kFirstToken), kLooks),
                     .gate_mean = mean_of_last(run.of(metric::kGateMean), kLooks),
                     .gate_below_01 = 100 * mean_of_last(run.of(metric::kGateBelow01), kLooks),
                     .m_act = mean_of_last(run.of(metric::kMAct), kLooks),
                     .max_activation = most_of(run.of(metric::kMaxActivation)),
                     .max_logit = most_of(run.of(metric::kMaxLogit)),
                     .max_load = mean_of_last(run.of(metric::kMaxLoad), kLooks),
                     .load_entropy = mean_of_last(run.of(metric::kLoadEntropy), kLooks),
                     .dead_experts = mean_of_last(run.of(metric::kDeadExperts), kLooks),
                     .tokens_per_second = median_of(run.of(metric::kTotalTokensPerSecond)),
                     .mfu = median_of(run.of(metric::kMfu))};
  if (const auto total = run.parameters.find("total"); total != run.parameters.end())
    numbers.parameters = total->second;
  if (!validation.empty() && validation.steps.front() == 0)
    numbers.initial_validation_loss = validation.values.front();
  if (static_cast<std::int64_t>(loss.size()) > SpikeDetector::kWindow)
    numbers.spike_events = static_cast<double>(run.spikes.size());
  if (!seconds.empty())
    numbers.hours = std::accumulate(seconds.values.begin(), seconds.values.end(), 0.0) / 3600;
  return numbers;
}

std::span<const RunNumber> run_numbers() {
  using R = RunNumbers;
  static constexpr RunNumber kNumbers[] = {
      {"steps", "steps", "{:.0f}", &R::steps},
      {"tokens", "tokens", kCounts, &R::tokens},
      {"parameters", "parameters", kCounts, &R::parameters},
      {"initial_validation_loss", "loss before step 1", "{:.4f}", &R::initial_validation_loss},
      {"validation_loss", "validation loss", "{:.4f}", &R::validation_loss},
      {"best_validation_loss", "lowest validation loss", "{:.4f}", &R::best_validation_loss},
      {"validation_targets", "validation targets", kCounts, &R::validation_targets},
      {"training_loss", "training loss", "{:.4f}", &R::training_loss},
      {"spike_events", "spikes", "{:.4g}", &R::spike_events},
      {"spike_score_olmo2", "spike score, OLMo 2 (%)", "{:.3f}", &R::spike_score_olmo2},
      {"spike_score_core", "spike score, OLMo-core (%)", "{:.3f}", &R::spike_score_core},
      {"spikes_median201_per_10k", "spikes by median per 10k", "{:.2f}", &R::spikes_median201},
      {"max_grad_norm", "largest gradient norm", "{:.3g}", &R::max_grad_norm},
      {"first_token_share", "first token (%)", "{:.1f}", &R::first_token_share},
      {"gate_mean", "mean gate", "{:.3f}", &R::gate_mean},
      {"gate_below_0.1", "gate < 0.1 (%)", "{:.1f}", &R::gate_below_01},
      {"m_act", "M-Act", "{:.4g}", &R::m_act},
      {"max_activation", "largest activation", "{:.4g}", &R::max_activation},
      {"max_logit", "largest attention logit", "{:.3g}", &R::max_logit},
      {"max_load", "busiest expert (x mean)", "{:.2f}", &R::max_load},
      {"load_entropy", "load entropy", "{:.3f}", &R::load_entropy},
      {"dead_experts", "dead experts", "{:.1f}", &R::dead_experts},
      {"tokens_per_second", "tokens/s", kCounts, &R::tokens_per_second},
      {"mfu", "MFU (%)", "{:.1f}", &R::mfu},
      {"hours", "time of steps", kHours, &R::hours}};
  return kNumbers;
}

}  // namespace hg
