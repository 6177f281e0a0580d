// The CUDA bodies of ops/embedding.h, on a simulated device, against the CPU's.
#include "ops/embedding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/cuda/kernel.h"
#include "support/device_views.h"

namespace hg::test {
namespace {

struct Case {
  std::int64_t tokens, vocab, begin, end, d;  // a rank has rows [begin, end)
  bool shifted = false;                       // operands are not 16-byte aligned
};
const std::vector<Case> kCases{
    {300, 7, 0, 7, 21}, {300, 45, 0, 45, 24}, {50, 101, 50, 67, 16}, {50, 101, 50, 67, 16, true},
    {1500, 3, 0, 3, 8}, {0, 5, 0, 5, 16},     {1, 1, 0, 1, 1},       {20, 40, 0, 6, 2312}};

/// A few tokens are most of the text.
Tensor some_tokens(Tensors& host, const Case& its) {
  std::vector<std::int32_t> values;
  for (std::int64_t t = 0; t < its.tokens; ++t) {
    const auto u = static_cast<float>(t * 7919 % 1009) / 1009.0F;
    values.push_back(static_cast<std::int32_t>(u * u * static_cast<float>(its.vocab)));
  }
  return host.integers(values);
}

/// Calls check(ctx, case, dtype) in every schedule.
template <class Check>
void for_cases(Check&& check) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : kCases)
      for (const DType dtype : {DType::f32, DType::bf16}) check(*ctx, its, dtype);
  }
}

TEST(CudaEmbedding, ForwardHasTheBitsOfTheCpu) {
  for_cases([](Context& ctx, const Case& its, DType dtype) {
    Tensors host;
    DeviceTensors device;
    const Tensor y = host.empty({its.tokens, its.d}, dtype);
    const EmbeddingForward op{
        .y = y,
        .tokens = some_tokens(host, its),
        .weight = host.normal("weight", {its.vocab, its.d}, dtype).rows(its.begin, its.end),
        .first = its.begin,
        .vocab = its.vocab};
    EmbeddingForward cuda = op;
    cuda.y = copy_slice(device, y, its.shifted);
    cuda.tokens = device.copy(op.tokens);
    cuda.weight = copy_slice(device, op.weight, its.shifted);
    run(ctx, op);
    cuda_kernel(cuda, ctx, nullptr);
    expect_same_bits(cuda.y, y, "y");
  });
}

void check_backward(Context& ctx, const Case& its, DType dtype, bool accumulate) {
  Tensors host;
  DeviceTensors device;
  const Tensor dweight = host.normal("before", {its.end - its.begin, its.d});
  const EmbeddingBackward op{.dweight = dweight,
                             .dy = host.normal("dy", {its.tokens, its.d}, dtype),
                             .tokens = some_tokens(host, its),
                             .first = its.begin,
                             .vocab = its.vocab,
                             .accumulate = accumulate};
  EmbeddingBackward cuda = op;
  cuda.dweight = copy_slice(device, dweight, its.shifted);
  cuda.dy = copy_slice(device, op.dy, its.shifted);
  cuda.tokens = device.copy(op.tokens);
  run(ctx, op);
  cuda_kernel(cuda, ctx, nullptr);
  expect_same_bits(cuda.dweight, dweight, "dweight");
}

TEST(CudaEmbedding, BackwardHasTheBitsOfTheCpu) {
  int run = 0;
  for_cases([&](Context& ctx, const Case& its, DType dtype) {
    check_backward(ctx, its, dtype, run / 2 % 2 == 0);
    ++run;
  });
}

TEST(CudaEmbedding, BackwardOfMoreRowsThanBlocks) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  check_backward(*ctx, {.tokens = 40, .vocab = 1100, .begin = 0, .end = 1100, .d = 2}, DType::f32,
                 true);
}

TEST(CudaEmbedding, ATokenOutsideTheVocabularyIsNaNAndAddsNothing) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  Tensors host;
  DeviceTensors device;
  const Tensor tokens = device.copy(host.integers({3, 13, -1, 8})), y = device.empty({4, 8}),
               dweight = device.empty({9, 8});
  cuda_kernel(EmbeddingForward{.y = y,
                               .tokens = tokens,
                               .weight = device.copy(host.normal("weight", {9, 8})),
                               .first = 0,
                               .vocab = 13},
              *ctx, nullptr);
  const Tensor result = to_host(y, host);
  for (std::int64_t i = 0; i < 32; ++i)
    EXPECT_EQ(std::isnan(get(result, i)), i / 8 == 1 || i / 8 == 2) << i;
  cuda_kernel(EmbeddingBackward{.dweight = dweight,
                                .dy = device.copy(host.normal("dy", {4, 8}, DType::f32, 0, 1)),
                                .tokens = tokens,
                                .first = 0,
                                .vocab = 13,
                                .accumulate = false},
              *ctx, nullptr);
  const Tensor gradient = to_host(dweight, host);
  for (std::int64_t i = 0; i < 72; ++i)
    EXPECT_EQ(get(gradient, i), i / 8 == 3 || i / 8 == 8 ? 1 : 0) << i;
}

}  // namespace
}  // namespace hg::test
