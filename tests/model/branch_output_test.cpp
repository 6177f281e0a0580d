#include "model/branch_output.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr std::int64_t kTokens = 4, kHidden = 24;
constexpr float kClip = 1.2F;

ModelConfig config_of(bool norm, bool clip) {
  ModelConfig config;
  config.hidden_size = kHidden;
  config.sandwich_norm = norm;
  config.residual_clip = clip ? double{kClip} : 0;
  return config;
}

/// One branch's output, alone in a store.
struct Branch {
  ParamStore store;
  UnitId unit = store.begin_unit("branch");
  BranchOutput output;
  std::unique_ptr<Context> ctx = cpu_context(Isa::avx2);
  Tensors memory;
  BranchOutput::Saved saved;
  Tensor x, delta, d;

  explicit Branch(const ModelConfig& config) : output(store, config, "branch") {
    store.allocate(Device::cpu, DType::f32, ParamStore::Purpose::training);
    for (const ParamState& state : store.states()) {
      const Tensor weight = memory.normal("weight", state.master.shape(), DType::f32, 0.2F, 1);
      for (std::int64_t i = 0; i < weight.numel(); ++i) set(state.master, i, get(weight, i));
    }
    x = memory.normal("x", {kTokens, kHidden});
    delta = memory.empty(x.shape());
    d = memory.normal("d", x.shape());
  }
  Weights weights() { return store.weights(unit); }
  /// Takes room for what the branch writes, whose values are the caller's.
  Tensor place(Keep keep = {Recompute::none, Pass::train}) {
    return output.place(*ctx, x, delta, saved, keep);
  }
  void forward(Keep keep = {Recompute::none, Pass::train}) {
    const ArenaScope scope(ctx->activations);  // differences run it many times
    output.forward(*ctx, weights(), delta, saved, keep);
  }
};

TEST(BranchOutput, IsNotThereUnlessAsked) {
  Branch branch(config_of(false, false));
  EXPECT_EQ(branch.place().data(), branch.delta.data());
  EXPECT_EQ(branch.output
                .backward(*branch.ctx, branch.weights(), branch.store.gradients(branch.unit, false),
                          branch.d, branch.saved)
                .data(),
            branch.d.data());
  EXPECT_EQ(branch.store.specs().size(), 0U);
  EXPECT_EQ(branch.ctx->activations.used() + branch.ctx->scratch.used(), 0U);
}

TEST(BranchOutput, NormsAndThenClips) {
  Branch branch(config_of(true, true));
  const Tensor projected = branch.place();
  for (std::int64_t i = 0; i < projected.numel(); ++i) set(projected, i, 5 * get(branch.x, i));
  branch.forward();
  const ConstTensor weight = branch.weights()[0];
  int clipped = 0;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    double squares = 0;
    for (std::int64_t i = 0; i < kHidden; ++i)
      squares += std::pow(double{get(projected, t * kHidden + i)}, 2);
    for (std::int64_t i = 0; i < kHidden; ++i) {
      const double normed = double{get(projected, t * kHidden + i)} /
                            std::sqrt(squares / kHidden + 1e-6) * double{get(weight, i)};
      clipped += std::abs(normed) > double{kClip};
      EXPECT_NEAR(get(branch.delta, t * kHidden + i),
                  std::clamp(normed, -double{kClip}, double{kClip}), 1e-5);
    }
  }
  EXPECT_GT(clipped, 5);
}

TEST(BranchOutput, BackwardAgreesWithFiniteDifferences) {
  for (const auto& [norm, clip] : {std::pair{true, false}, {false, true}, {true, true}}) {
    Branch branch(config_of(norm, clip));
    const Tensor projected = branch.place();
    for (std::int64_t i = 0; i < projected.numel(); ++i) set(projected, i, get(branch.x, i));
    branch.forward();
    // Differences must not reach over the limit.
    for (bool moved = clip; moved;) {
      moved = false;
      const Tensor& unclipped = norm ? branch.saved.normed : projected;
      for (std::int64_t i = 0; i < projected.numel(); ++i) {
        if (std::abs(std::abs(get(unclipped, i)) - kClip) > 0.05F) continue;
        set(projected, i, 0.8F * get(projected, i));
        moved = true;
      }
      branch.forward();
    }
    const ConstTensor dprojected =
        branch.output.backward(*branch.ctx, branch.weights(),
                               branch.store.gradients(branch.unit, false), branch.d, branch.saved);
    GradientCheck check{.forward = [&] { branch.forward(); },
                        .outputs = {{branch.delta, branch.d}},
                        .inputs = {{"projected", projected, dprojected}}};
    for (const ParamState& state : branch.store.states())
      check.inputs.push_back({state.spec.name, state.master, state.gradient});
    expect_gradients(check);
  }
}

TEST(BranchOutput, MakesAgainOnlyWhatWasNotKept) {
  for (const auto& [norm, clip] : {std::pair{true, false}, {false, true}, {true, true}}) {
    Branch branch(config_of(norm, clip));
    const Tensor projected = branch.place({Recompute::cheap, Pass::train});
    for (std::int64_t i = 0; i < projected.numel(); ++i) set(projected, i, get(branch.x, i));
    branch.output.forward(*branch.ctx, branch.weights(), branch.delta, branch.saved,
                          {Recompute::cheap, Pass::train});
    const auto gradient = [&] {
      return branch.memory.copy(branch.output.backward(*branch.ctx, branch.weights(),
                                                       branch.store.gradients(branch.unit, false),
                                                       branch.d, branch.saved),
                                DType::f32);
    };
    const Tensor before = gradient();
    EXPECT_FALSE(branch.place({Recompute::cheap, Pass::again}));
    branch.saved.normed = {};
    branch.output.forward(*branch.ctx, branch.weights(), {}, branch.saved,
                          {Recompute::cheap, Pass::again});
    EXPECT_TRUE(same_bits(before, gradient()));
  }
}

}  // namespace
}  // namespace hg::test
