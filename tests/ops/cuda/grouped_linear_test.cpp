// The CUDA bodies of ops/grouped_linear.h, on a simulated device, against the definition in double.
#include "ops/grouped_linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "ops/cuda/kernel.h"
#include "support/compare.h"
#include "support/device_tensors.h"
#include "support/grouped_linear.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

/// Loads on both sides of every cut: no rows, one, whole tiles and more; widths of whole chunks, of
/// none, of less than a tile and more.
std::vector<GroupedSizes> sizes() {
  Counts few(40);
  for (std::size_t e = 0; e < few.size(); ++e) few[e] = static_cast<std::int32_t>(e * 7 % 11 % 6);
  return {{{1}, 1, 1, 0},
          {{5, 0, 3}, 16, 8},
          {{0, 17, 0, 0, 130, 64, 1, 0}, 37, 53},
          {{0, 0, 140, 0}, 24, 136},
          {{40, 16, 128}, 136, 40, 0},
          {{3, 70}, 200, 24},
          {few, 20, 12, 30},
          {{0, 0}, 8, 8, 5}};
}

/// A layer's operands on the device. With gaps, rows are parts of wider ones: they begin at odd
/// elements if `shifted`.
struct CudaLayer {
  DeviceTensors device;
  Tensor x, dy, y, dx, weight, dweight, offsets;

  explicit CudaLayer(const GroupedLayer& layer, bool gaps = false, bool shifted = false)
      : weight(device.copy(layer.weight)),
        dweight(device.copy(layer.dweight)),
        offsets(device.copy(layer.offsets)) {
    const auto matrix = [&](const Tensor& host) {
      if (!gaps) return device.copy(host, shifted);
      Tensors memory;
      const std::int64_t columns = host.dim(1), begin = shifted ? 3 : 8, pitch = columns + 16;
      const Tensor wide = memory.empty({host.dim(0), pitch}, host.dtype());
      for (std::int64_t i = 0; i < host.numel(); ++i)
        set(wide, i / columns * pitch + begin + i % columns, get(host, i));
      return device.copy(wide).slice(1, begin, begin + columns);
    };
    x = matrix(layer.x), dy = matrix(layer.dy), y = matrix(layer.y), dx = matrix(layer.dx);
  }
  void run(Context& ctx, bool accumulate = false) const {
    cuda_kernel(GroupedLinearForward{.y = y, .x = x, .weight = weight, .offsets = offsets}, ctx,
                nullptr);
    cuda_kernel(
        GroupedLinearBackwardInput{.dx = dx, .dy = dy, .weight = weight, .offsets = offsets}, ctx,
        nullptr);
    run_backward_weight(ctx, accumulate);
  }
  void run_backward_weight(Context& ctx, bool accumulate) const {
    cuda_kernel(
        GroupedLinearBackwardWeight{
            .dweight = dweight, .dy = dy, .x = x, .offsets = offsets, .accumulate = accumulate},
        ctx, nullptr);
  }
};

/// A device's matrix, whose rows may lie apart, as f32.
Tensor rows_to_host(const Tensor& device, Tensors& memory) {
  const Tensor whole(device.data(), device.dtype(),
                     {(device.dim(0) - 1) * device.stride(0) + device.dim(1)});
  const Tensor values = to_host(whole, memory), rows = memory.empty(device.shape());
  for (std::int64_t i = 0; i < rows.numel(); ++i) {
    const std::int64_t row = i / device.dim(1), column = i % device.dim(1);
    set(rows, i, get(values, row * device.stride(0) + column));
  }
  return rows;
}

void expect_products(const GroupedLayer& layer, const CudaLayer& cuda, DType dtype) {
  Tensors memory;
  const GroupedReference reference(layer);
  const double limit = dtype == DType::f32 ? kReordered : rounding(dtype);
  const Tensor y = rows_to_host(cuda.y, memory), dx = rows_to_host(cuda.dx, memory);
  EXPECT_LE(relative_error(y.rows(0, layer.used()), reference.y), limit);
  EXPECT_LE(relative_error(dx.rows(0, layer.used()), reference.dx), limit);
  EXPECT_LE(relative_error(to_host(cuda.dweight, memory), reference.dweight), kReordered);
  for (const Tensor& result : {y, dx}) {
    for (std::int64_t i = layer.used() * result.dim(1); i < result.numel(); ++i)
      ASSERT_TRUE(std::isnan(get(result, i))) << "element " << i << " belongs to nobody";
  }
}

TEST(CudaGroupedLinear, AgreesWithDoublePrecisionAndLeavesOtherRowsAlone) {
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const GroupedSizes& s : sizes()) {
        SCOPED_TRACE(testing::Message() << name_of(dtype) << " " << s.counts.size() << " experts, "
                                        << s.n << " x " << s.k);
        const GroupedLayer layer(Isa::avx2, s, dtype);
        const CudaLayer cuda(layer);
        cuda.run(*layer.ctx);
        expect_products(layer, cuda, dtype);
      }
    }
  }
}

TEST(CudaGroupedLinear, RowsMayLieApartAndAtAnyAddress) {
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const bool gaps : {false, true}) {
        for (const bool shifted : {false, true}) {
          const GroupedLayer layer(Isa::avx2, {{30, 0, 31}, 40, 56}, dtype);
          const CudaLayer cuda(layer, gaps, shifted);
          cuda.run(*layer.ctx);
          expect_products(layer, cuda, dtype);
          if (!gaps) continue;
          Tensors memory;
          for (const Tensor& result : {cuda.y, cuda.dx}) {
            const Tensor gap(
                static_cast<std::byte*>(result.data()) + result.dim(1) * size_of(dtype), dtype,
                {1});
            EXPECT_TRUE(std::isnan(get(to_host(gap, memory), 0))) << "written beside the rows";
          }
        }
      }
    }
  }
}

TEST(CudaGroupedLinear, AccumulateAddsToTheWeightGradient) {
  const cuda_sim::Simulation simulation({.devices = 1});
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const GroupedSizes& s : sizes()) {
      const GroupedLayer layer(Isa::avx2, s, dtype);
      const CudaLayer cuda(layer);
      cuda.run_backward_weight(*layer.ctx, false);
      cuda.run_backward_weight(*layer.ctx, true);
      const GroupedReference once(layer);
      for (std::int64_t i = 0; i < once.dweight.numel(); ++i)
        set(once.dweight, i, 2 * get(once.dweight, i));
      Tensors memory;
      EXPECT_LE(relative_error(to_host(cuda.dweight, memory), once.dweight), kReordered);
    }
  }
}

// An expert's results are its own: its neighbours may have any rows, and no order of threads or
// blocks changes them.
TEST(CudaGroupedLinear, BitsDependOnTheExpertAlone) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    std::vector<Tensor> ys, dweights;
    Tensors memory;
    for (const cuda_sim::Options& options : schedules()) {
      const cuda_sim::Simulation simulation(options);
      const bool among = ys.size() % 2 == 1;
      const std::int32_t before = among ? 60 : 0, after = among ? 40 : 0;
      const GroupedLayer layer(Isa::avx2, {{before, 77, after}, 48, 80}, dtype);
      const GroupedLayer same(Isa::avx2, {{77}, 48, 80}, dtype);
      for (const auto& [from, to] : {std::pair{same.x, layer.x}, std::pair{same.dy, layer.dy}}) {
        std::memcpy(to.rows(before, before + 77).data(), from.data(),
                    static_cast<std::size_t>(from.rows(0, 77).bytes()));
      }
      const CudaLayer cuda(layer);
      cuda.run(*layer.ctx);
      ys.push_back(to_host(cuda.y.rows(before, before + 77), memory));
      dweights.push_back(to_host(cuda.dweight.rows(1, 2), memory));
      EXPECT_TRUE(same_bits(ys.back(), ys.front())) << name_of(dtype);
      EXPECT_TRUE(same_bits(dweights.back(), dweights.front())) << name_of(dtype);
    }
  }
}

}  // namespace
}  // namespace hg::test
