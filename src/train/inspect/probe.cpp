#include "train/inspect/probe.h"

#include "ops/cpu/dtypes.h"
#include "train/checkpoint/checkpoint.h"
#include "train/forward_model.h"

namespace hg {
namespace {

void scale(const Tensor& weights, double factor) {
  for_float_type(weights.dtype(), [&]<class T>() {
    for (std::int64_t i = 0; i < weights.numel(); ++i) {
      T& weight = weights.as<T>()[i];
      weight = static_cast<T>(static_cast<float>(weight) * static_cast<float>(factor));
    }
  });
}

}  // namespace

void scale_gate(const ParamStore& store, double factor) {
  std::int64_t scaled = 0;
  for (const ParamState& state : store.states()) {
    const Tensor& weights = state.working ? state.working : state.master;
    for_parts(state.spec, [&](const ParamSpec::Part& part, std::int64_t begin, std::int64_t end) {
      if (part.kind != "gate") return;
      scale(weights.slice(0, begin, end), factor);
      scaled += end - begin;
    });
  }
  HG_CHECK(scaled > 0, "the model has no gate with weights of its own: there is nothing to scale");
}

std::vector<GateProbe> probe_gate_scale(const TrainedRun& run, std::span<const double> factors,
                                        const std::function<void(const GateProbe&)>& each) {
  const RunConfig& config = run.config;
  HG_CHECK(!config.data.validation.empty(),
           "{}: data.validation is empty: there is nothing to evaluate on",
           (run.checkpoint / "config.yaml").string());
  const TokenFile file(config.data.validation, config.model.vocab_size, TokenFile::IdCheck::some);
  ForwardModel model(run, config.training.micro_batch_size * config.training.seq_len,
                     config.training.seq_len);
  std::vector<GateProbe> probes;
  for (const double factor : factors) {
    if (!probes.empty()) load_checkpoint(run.checkpoint, model.run);
    scale_gate(model.run.store, factor);
    probes.push_back({.factor = factor,
                      .evaluation = evaluate(model.run, model.losses, file, config.training,
                                             config.validation.sequences)});
    if (each) each(probes.back());
  }
  return probes;
}

}  // namespace hg
