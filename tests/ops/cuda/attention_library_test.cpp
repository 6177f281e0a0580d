// What lies around cuDNN's plans, on a simulated device: offsets of documents, logsumexps in a
// plan's order, and our own kernel where there is no cuDNN.
#include "ops/cuda/attention_library.h"

#include <gtest/gtest.h>

#include <numeric>

#include "support/compare.h"
#include "support/device_tensors.h"

namespace hg::test {
namespace {

SdpaShape shape_of(std::int64_t batch, std::int64_t length, std::int64_t tokens, bool ragged) {
  return {.batch = batch,
          .length = length,
          .heads = 6,
          .kv_heads = 2,
          .d = 8,
          .k_stride = 40,
          .v_stride = 56,
          .tokens = tokens,
          .ragged = ragged,
          .deterministic = true};
}

std::vector<std::int32_t> ints_at(const void* device, std::size_t count) {
  std::vector<std::int32_t> values(count);
  expect_cuda(cudaDeviceSynchronize());
  expect_cuda(cudaMemcpy(values.data(), device, 4 * count, cudaMemcpyDeviceToHost));
  return values;
}

TEST(CudaAttentionLibrary, FindsWhereDocumentsBegin) {
  const std::vector<std::int32_t> bounds{0, 3, 3, 10};
  std::vector<std::int32_t> many(301);
  std::iota(many.begin(), many.end(), 0);
  for (const cuda_sim::Options& options : schedules()) {
    for (const auto& documents : {bounds, many}) {
      const cuda_sim::Simulation simulation(options);
      DeviceTensors device;
      Tensors host;
      const std::int64_t count = std::ssize(documents) - 1, batch = count < 4 ? 4 : 512;
      const SdpaShape shape = shape_of(batch, 8, documents.back(), true);
      const Tensor room = device.empty({sdpa_buffer_bytes(shape, false) / 4});
      SdpaOperands operands(shape, room, nullptr);
      operands.make_offsets(device.copy(host.integers(documents)));
      const auto n = static_cast<std::size_t>(batch);
      std::vector<std::int32_t> lengths(n, 0), begins(n + 1, documents.back());
      std::copy(documents.begin(), documents.end(), begins.begin());
      for (std::size_t i = 0; i < n; ++i) lengths[i] = begins[i + 1] - begins[i];
      EXPECT_EQ(ints_at(operands.of(SdpaOperand::lengths), n), lengths);
      const auto expect_offsets = [&](SdpaOperand operand, std::int32_t unit) {
        std::vector<std::int32_t> expected = begins;
        for (std::int32_t& x : expected) x *= unit;
        EXPECT_EQ(ints_at(operands.of(operand), n + 1), expected);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(operands.of(operand)) % 16, 0U);
      };
      expect_offsets(SdpaOperand::q_offsets, 48);
      expect_offsets(SdpaOperand::k_offsets, 40);
      expect_offsets(SdpaOperand::v_offsets, 56);
      expect_offsets(SdpaOperand::dkv_offsets, 16);
      expect_offsets(SdpaOperand::stats_offsets, 6);
    }
  }
}

/// lse [heads, tokens] to a plan's order and back.
void expect_regrouped(const SdpaShape& shape) {
  DeviceTensors device;
  Tensors host;
  const Tensor lse = host.normal("lse", {shape.heads, shape.tokens}, DType::f32);
  const Tensor from = device.copy(lse), back = device.empty(lse.shape());
  const Tensor room = device.empty({sdpa_buffer_bytes(shape, false) / 4});
  SdpaOperands operands(shape, room, nullptr);
  float* stats = operands.make_of_rows(SdpaOperand::stats);
  operands.regroup_rows(stats, from.as<float>(), false);
  const Tensor found = to_host({stats, DType::f32, {lse.numel()}}, host);
  for (std::int64_t h = 0; h < shape.heads; ++h) {
    for (std::int64_t t = 0; t < shape.tokens; ++t) {
      const std::int64_t document = t / shape.length, place = t % shape.length;
      const std::int64_t i =
          shape.ragged ? t * shape.heads + h : (document * shape.heads + h) * shape.length + place;
      ASSERT_EQ(get(found, i), get(lse, h * shape.tokens + t));
    }
  }
  operands.regroup_rows(back.as<float>(), stats, true);
  EXPECT_TRUE(same_bits(to_host(back, host), lse));
}

TEST(CudaAttentionLibrary, GroupsRowsAsPlansHaveThem) {
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    expect_regrouped(shape_of(3, 5, 15, false));
    expect_regrouped(shape_of(2, 150, 300, false));
    expect_regrouped(shape_of(4, 8, 21, true));
  }
}

TEST(CudaAttentionLibrary, ScratchThatIsTooSmallIsAnError) {
  const cuda_sim::Simulation simulation({.devices = 1});
  DeviceTensors device;
  const SdpaShape shape = shape_of(3, 5, 15, false);
  const Tensor room = device.empty({200});
  SdpaOperands operands(shape, room, nullptr);
  EXPECT_NO_THROW(operands.make_of_rows(SdpaOperand::stats));
  EXPECT_THROW(operands.make_of_rows(SdpaOperand::delta), Error);
}

}  // namespace
}  // namespace hg::test
