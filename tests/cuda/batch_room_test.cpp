// What a GPU gets of a batch.
#include "train/batch_room.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/gpu_run.h"

namespace hg::test {
namespace {

using testing::ElementsAre;

class GpuBatchRoom : public testing::Test {
 protected:
  GpuBatchRoom() {
    ctx.device = Device::cuda;
    ctx.gpu = headgate_gpu_module()->open(0);
    tables.reserve(1 << 12, ctx.gpu);
    room.emplace(ctx, tables, kTokens, true);
  }

  /// The documents that the GPU is given, of a batch with these bounds.
  std::vector<std::int32_t> put(const std::vector<std::int32_t>& bounds, std::int64_t longest,
                                bool part = false, std::int64_t at_least = 0) {
    HostBatch batch(kTokens);
    for (auto* values : {&batch.tokens, &batch.targets, &batch.positions})
      values->assign(static_cast<std::size_t>(bounds.back()), 7);
    batch.documents = bounds;
    batch.longest = longest;
    if (part) batch.keys.assign(2 * (bounds.size() - 1), 5);
    const Batch view = room->put(ctx, batch, at_least);
    EXPECT_EQ((HostValues<std::int32_t>(ctx, view.positions)[0]), 7);
    if (part) {
      EXPECT_EQ((HostValues<std::int32_t>(ctx, view.keys)[0]), 5);
    }
    const HostValues<std::int32_t> values(ctx, view.documents);
    return {values.data(), values.data() + view.documents.numel()};
  }

  static constexpr std::int64_t kTokens = 12;
  const cuda_sim::Simulation simulation;
  Context ctx;
  Arena tables{"tables"};
  std::optional<BatchRoom> room;
};

TEST_F(GpuBatchRoom, DocumentsBecomeAPowerOfTwo) {
  EXPECT_THAT(put({0, 5, 9, 12}, 12), ElementsAre(0, 5, 9, 12, 12));
  EXPECT_THAT(put({0, 2, 5, 9, 11, 12}, 12), ElementsAre(0, 2, 5, 9, 11, 12, 12, 12, 12));
  EXPECT_THAT(put({0, 2, 12}, 12), ElementsAre(0, 2, 12));
}

TEST_F(GpuBatchRoom, ButWholeWindowsAndPartsOfThemStayAsTheyAre) {
  EXPECT_THAT(put({0, 12}, 12), ElementsAre(0, 12));
  EXPECT_THAT(put({0, 4, 8, 12}, 4), ElementsAre(0, 4, 8, 12));
  EXPECT_THAT(put({0, 5, 9, 12}, 24, true), ElementsAre(0, 5, 9, 12));
}

TEST_F(GpuBatchRoom, AsManyAsAnotherRankHas) {
  EXPECT_THAT(put({0, 5, 12}, 12, false, 4), ElementsAre(0, 5, 12, 12, 12));
  EXPECT_THAT(put({0, 4, 8, 12}, 4, false, 4), ElementsAre(0, 4, 8, 12, 12));
  EXPECT_THAT(put({0, 4, 8, 12}, 4, false, 3), ElementsAre(0, 4, 8, 12));
}

TEST_F(GpuBatchRoom, AreNoMoreThanTokens) {
  EXPECT_THAT(put({0, 1, 2, 3}, 3), ElementsAre(0, 1, 2, 3));
}

}  // namespace
}  // namespace hg::test
