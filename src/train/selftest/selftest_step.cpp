#include "train/selftest/selftest_step.h"

#include <cmath>

#include "core/random.h"

namespace hg {
namespace {

/// Random tokens in documents of 1, 5, and as many as are left.
HostBatch make_batch(const RunConfig& config) {
  const std::int64_t tokens = config.training.micro_batch_size * config.training.seq_len;
  HostBatch batch(tokens);
  const RandomStream random(7, "selftest");
  const auto id = [&](std::int64_t i) {
    const auto bits = random.bits(static_cast<std::uint64_t>(i));
    return static_cast<std::int32_t>(bits % static_cast<std::uint64_t>(config.model.vocab_size));
  };
  batch.documents = {0, 1, 6, static_cast<std::int32_t>(tokens)};
  batch.longest = tokens - 6;
  std::size_t document = 0;
  for (std::int32_t t = 0; t < tokens; ++t) {
    if (t == batch.documents[document + 1]) ++document;
    const bool last = t + 1 == batch.documents[document + 1];
    batch.tokens.push_back(id(t));
    batch.targets.push_back(last ? -1 : id(t + 1));
    batch.positions.push_back(t - batch.documents[document]);
  }
  return batch;
}

}  // namespace

SelftestStep::SelftestStep(const RunConfig& config, const CpuInfo& cpu)
    : batch_(make_batch(config)),
      run_(make_training_model(config, cpu, plan_step(config, cpu))),
      losses_(allocate_losses(run_->tables, std::ssize(batch_.tokens))) {
  run_->store.initialize(3);
  publish();
}

double SelftestStep::run() {
  run_->model.forward_backward(run_->ctx, batch_.view(), {}, losses_);
  return sum_of_losses();
}

double SelftestStep::loss() {
  run_->model.forward(run_->ctx, batch_.view(), losses_);
  return sum_of_losses();
}

double SelftestStep::sum_of_losses() const {
  double sum = 0;
  for (std::int64_t t = 0; t < losses_.loss.numel(); ++t)
    sum += double{losses_.loss.as<float>()[t]};
  return sum;
}

double relative_distance(std::span<const float> a, std::span<const float> b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double{a[i]} - double{b[i]}, 2);
    size += std::pow(double{b[i]}, 2);
  }
  return size > 0 ? std::sqrt(difference / size) : std::sqrt(difference);
}

}  // namespace hg
