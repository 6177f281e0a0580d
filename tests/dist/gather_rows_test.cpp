#include "dist/gather_rows.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "dist/run_ranks.h"

namespace hg::test {
namespace {

struct Row {
  double value;
  std::int64_t rank;
};

TEST(GatherRows, EveryRankHasTheBitsOfAll) {
  run_ranks(3, [](Comm& world) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const std::vector<Row> own = {{0.1 * world.rank(), world.rank()}, {nan, -world.rank()}};
    const auto all = gather_rows<Row>(world, own, "rows");
    HG_CHECK(all.size() == 6, "{} rows", all.size());
    for (std::size_t r = 0; r < 3; ++r) {
      const auto rank = static_cast<std::int64_t>(r);
      HG_CHECK(all[2 * r].rank == rank && all[2 * r + 1].rank == -rank, "rows of rank {}", r);
      HG_CHECK(all[2 * r].value == 0.1 * static_cast<double>(r), "value of rank {}", r);
      HG_CHECK(
          std::bit_cast<std::uint64_t>(all[2 * r + 1].value) == std::bit_cast<std::uint64_t>(nan),
          "NaN of rank {}", r);
    }
  });
}

TEST(GatherRows, NoRowsAreFine) {
  run_ranks(2, [](Comm& world) {
    HG_CHECK(gather_rows<float>(world, {}, "nothing").empty(), "rows of nobody");
  });
}

}  // namespace
}  // namespace hg::test
