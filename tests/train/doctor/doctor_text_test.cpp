#include "train/doctor/doctor_text.h"

#include <gtest/gtest.h>

#include <numeric>

namespace hg::test {
namespace {

TEST(DoctorText, ListsRanks) {
  EXPECT_EQ(rank_list(std::vector{3}), "rank 3");
  EXPECT_EQ(rank_list(std::vector{0, 1, 2, 9}), "ranks 0-2, 9");
  std::vector<int> many(100);
  std::iota(many.begin(), many.end(), 0);
  EXPECT_EQ(rank_list(many), "ranks 0-63 and 36 more");
}

TEST(DoctorText, ListsOpinions) {
  EXPECT_EQ(list_opinions({{"a", {0}}}), "a");
  EXPECT_EQ(list_opinions({{"a", {0, 1}}}), "a on all ranks");
  EXPECT_EQ(list_opinions({{"b", {1, 2}}, {"a", {0}}}), "a on rank 0; b on ranks 1-2");
}

TEST(DoctorText, Units) {
  EXPECT_EQ(binary_size(0), "0 B");
  EXPECT_EQ(binary_size(1023), "1023 B");
  EXPECT_EQ(binary_size(4 << 20), "4.0 MiB");
  EXPECT_EQ(binary_size(std::int64_t{3} << 39), "1.5 TiB");
  EXPECT_EQ(short_time(2.44e-6), "2.4 us");
  EXPECT_EQ(short_time(20e-6), "20 us");
  EXPECT_EQ(short_time(0.25), "250 ms");
  EXPECT_EQ(short_time(3), "3.0 s");
}

}  // namespace
}  // namespace hg::test
