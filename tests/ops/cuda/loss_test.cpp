// The CUDA bodies of ops/loss.h, on a simulated device, against the CPU's.
#include "ops/loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/cuda/kernel.h"
#include "support/device_views.h"

namespace hg::test {
namespace {

constexpr float kScale = 0.25F, kZLoss = 1e-2F, kInfinity = std::numeric_limits<float>::infinity();

struct Case {
  std::int64_t rows, vocab;
  bool shifted = false;  // operands are not 16-byte aligned
};
const std::vector<Case> kCases{{1, 1},    {6, 37},        {5, 128}, {2, 4096 + 77},
                               {1, 9216}, {5, 128, true}, {0, 64}};

/// Rows of logits with targets all over the vocabulary, every fifth row without one.
struct Loss {
  Tensors host;
  DeviceTensors device;
  Tensor logits, loss, lse, targets;
  bool shifted;

  Loss(const Case& its, DType dtype, std::int64_t whole_vocab = 0, float spread = 3)
      : shifted(its.shifted) {
    logits = host.normal("logits", {its.rows, its.vocab}, dtype, spread);
    loss = host.empty({its.rows});
    lse = host.empty({its.rows});
    std::vector<std::int32_t> ids;
    const std::int64_t vocab = whole_vocab > 0 ? whole_vocab : its.vocab;
    for (std::int64_t t = 0; t < its.rows; ++t)
      ids.push_back(t % 5 == 4 ? -1 : static_cast<std::int32_t>((t * 7919 + vocab - 1) % vocab));
    targets = host.integers(ids);
  }
  CrossEntropy op(bool backward = true) const {
    return {.logits = logits,
            .loss = loss,
            .lse = lse,
            .targets = targets,
            .z_loss = kZLoss,
            .scale = kScale,
            .backward = backward};
  }
  template <class Op>
  Op on_device(Op op) {
    op.logits = copy_slice(device, op.logits, shifted);
    op.loss = device.copy(loss);
    op.lse = device.copy(lse);
    op.targets = device.copy(targets);
    return op;
  }
};

TEST(CudaLoss, AgreesWithTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : kCases) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        for (const bool backward : {false, true}) {
          Loss a(its, dtype);
          const CrossEntropy cuda = a.on_device(a.op(backward));
          run(*ctx, a.op(backward));
          cuda_kernel(cuda, *ctx, nullptr);
          expect_same(cuda.logits, a.logits, "gradient");
          expect_same(cuda.loss, a.loss, "loss");
          expect_same(cuda.lse, a.lse, "lse");
        }
      }
    }
  }
}

TEST(CudaLoss, PartsAgreeWithTheCpu) {
  constexpr std::int64_t kRanks = 3;
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : kCases) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        for (const bool backward : {false, true}) {
          Loss a(its, dtype, kRanks * its.vocab);
          const Tensor part = a.host.empty({its.rows, CrossEntropyPart::kParts});
          const std::int64_t first = its.vocab;  // of rank 1
          const CrossEntropyPart op{
              .part = part, .logits = a.logits, .targets = a.targets, .first = first};
          CrossEntropyPart cuda_part = op;
          cuda_part.part = a.device.copy(part);
          cuda_part.logits = copy_slice(a.device, a.logits, its.shifted);
          cuda_part.targets = a.device.copy(a.targets);
          run(*ctx, op);
          cuda_kernel(cuda_part, *ctx, nullptr);
          expect_same(cuda_part.part, part, "part");

          // The other ranks have no target's logit.
          const Tensor parts = a.host.normal("parts", {kRanks, its.rows, 3});
          for (std::int64_t i = 0; i < part.numel(); ++i) {
            set(parts, part.numel() + i, get(part, i));
            for (const std::int64_t rank : {0, 2}) {
              if (i % 3 == 1) set(parts, rank * part.numel() + i, 1.5F);
              if (i % 3 == 2) set(parts, rank * part.numel() + i, 0);
            }
          }
          const CrossEntropyJoin join{.logits = a.logits,
                                      .loss = a.loss,
                                      .lse = a.lse,
                                      .parts = parts,
                                      .targets = a.targets,
                                      .first = first,
                                      .z_loss = kZLoss,
                                      .scale = kScale,
                                      .backward = backward};
          CrossEntropyJoin cuda = a.on_device(join);
          cuda.parts = a.device.copy(parts);
          run(*ctx, join);
          cuda_kernel(cuda, *ctx, nullptr);
          expect_same(cuda.logits, a.logits, "gradient");
          expect_same(cuda.loss, a.loss, "loss");
          expect_same(cuda.lse, a.lse, "lse");
        }
      }
    }
  }
}

TEST(CudaLoss, ALogitThatIsNotANumberOrInfiniteMakesNaN) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  for (const float bad : {NAN, kInfinity}) {
    Loss a({.rows = 3, .vocab = 600}, DType::f32);
    set(a.logits, 600 + 577, bad);
    set(a.logits, 1200 + 3, -kInfinity);
    const CrossEntropy cuda = a.on_device(a.op());
    cuda_kernel(cuda, *ctx, nullptr);
    const Tensor loss = to_host(cuda.loss, a.host);
    for (std::int64_t t = 0; t < 3; ++t) EXPECT_EQ(std::isnan(get(loss, t)), t == 1) << t;
  }
}

TEST(CudaLoss, ATargetBeyondTheVocabularyMakesNaNOfItsRow) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  Loss a({.rows = 2, .vocab = 40}, DType::bf16);
  a.targets.as<std::int32_t>()[1] = 40;
  const CrossEntropy cuda = a.on_device(a.op());
  cuda_kernel(cuda, *ctx, nullptr);
  const Tensor loss = to_host(cuda.loss, a.host), gradient = to_host(cuda.logits, a.host);
  for (std::int64_t t = 0; t < 2; ++t) EXPECT_EQ(std::isnan(get(loss, t)), t == 1);
  for (std::int64_t i = 0; i < 80; ++i) EXPECT_EQ(std::isnan(get(gradient, i)), i >= 40) << i;
}

TEST(CudaLoss, LargeLogitsDoNotOverflow) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  Loss a({.rows = 4, .vocab = 700}, DType::f32, 0, 1e4F);
  const CrossEntropy cuda = a.on_device(a.op());
  run(*ctx, a.op());
  cuda_kernel(cuda, *ctx, nullptr);
  expect_same(cuda.logits, a.logits, "gradient");
  expect_same(cuda.loss, a.loss, "loss");
}

}  // namespace
}  // namespace hg::test
