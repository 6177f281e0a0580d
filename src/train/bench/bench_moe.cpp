#include "train/bench/bench_moe.h"

#include <algorithm>

#include "core/clock.h"
#include "core/random.h"
#include "model/moe.h"

namespace hg {
namespace {

ModelConfig layer_config(const BenchExperts& size) {
  ModelConfig config;
  config.hidden_size = size.hidden;
  config.moe.num_experts = size.experts;
  config.moe.top_k = size.top_k;
  config.moe.expert_intermediate_size = size.width;
  config.moe.aux_loss_coef = 1e-2;
  config.moe.z_loss_coef = 1e-3;
  return config;
}

void fill(const Tensor& x, std::string_view name) {
  const RandomStream stream(1, name);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const float value = stream.normal(static_cast<std::uint64_t>(i));
    x.dtype() == DType::f32 ? void(x.as<float>()[i] = value)
                            : void(x.as<bf16>()[i] = static_cast<bf16>(value));
  }
}

/// Both layers and a batch, in memory that a meta run has measured.
class Layers {
 public:
  Layers(const BenchExperts& size, const CpuInfo& cpu, DType dtype)
      : Layers(size, cpu, dtype, Device::meta, nullptr) {}

  /// On the CPU, with room for what `plan` has used.
  Layers(const BenchExperts& size, const CpuInfo& cpu, DType dtype, Device device,
         const Layers* plan)
      : unit_(store_.begin_unit("layer")),
        moe_(store_, layer_config(size), "moe"),
        dense_(store_, layer_config(size), size.top_k * size.width, Mlp::Share::whole, "mlp",
               "dense") {
    ctx_.cpu = cpu;
    ctx_.device = device;
    if (plan != nullptr) {
      batch_.reserve(plan->batch_.high_water());
      ctx_.activations.reserve(plan->ctx_.activations.high_water());
      ctx_.scratch.reserve(plan->ctx_.scratch.high_water());
    }
    store_.allocate(device, dtype, ParamStore::Purpose::training);
    for (Tensor* tensor : {&x_, &y_, &dy_, &dx_})
      *tensor = batch_.allocate("batch", dtype, {size.tokens, size.hidden});
    if (device == Device::meta) return;
    store_.initialize(1);
    store_.publish(ctx_);
    fill(x_, "x");
    fill(dy_, "dy");
  }

  double moe_seconds() {
    const auto start = Clock::now();
    const ArenaScope kept(ctx_.activations), scope(ctx_.scratch);
    const Weights w = store_.weights(unit_);
    Moe::Saved s;
    moe_.router().begin_step(ctx_, w);
    moe_.forward(ctx_, w, {}, x_, y_, s, kKeep, {});
    moe_.backward(ctx_, w, store_.gradients(unit_, false), {}, dy_, x_, s, dx_);
    return seconds_since(start);
  }
  double dense_seconds() {
    const auto start = Clock::now();
    const ArenaScope kept(ctx_.activations), scope(ctx_.scratch);
    const Weights w = store_.weights(unit_);
    Mlp::Saved s;
    dense_.forward(ctx_, w, x_, y_, s, kKeep);
    dense_.backward(ctx_, w, store_.gradients(unit_, false), dy_, x_, s, dx_);
    return seconds_since(start);
  }
  double flops() {
    Trace trace;
    ctx_.trace = &trace;
    moe_seconds();
    ctx_.trace = nullptr;
    return trace.total().cost.flops;
  }

 private:
  static constexpr Keep kKeep{.policy = Recompute::none, .pass = Pass::train};

  Context ctx_;
  ParamStore store_;
  UnitId unit_;
  Moe moe_;
  Mlp dense_;
  Arena batch_{"bench batch"};
  Tensor x_, y_, dy_, dx_;
};

}  // namespace

OpTiming bench_moe(const BenchExperts& size, const CpuInfo& cpu, DType dtype, int rounds) {
  Layers plan(size, cpu, dtype);
  plan.moe_seconds();
  plan.dense_seconds();
  Layers layers(size, cpu, dtype, Device::cpu, &plan);
  OpTiming timing{.size = std::string(size.name),
                  .load = "routed",
                  .op = "moe_layer",
                  .seconds = layers.moe_seconds(),
                  .dense_seconds = layers.dense_seconds(),
                  .flops = plan.flops()};
  for (int round = 0; round < rounds; ++round) {
    timing.seconds = std::min(timing.seconds, layers.moe_seconds());
    timing.dense_seconds = std::min(timing.dense_seconds, layers.dense_seconds());
  }
  return timing;
}

}  // namespace hg
