#include "dist/host_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hg {
namespace {

using testing::ElementsAre;
using testing::Optional;

TEST(ExpandHosts, KnowsSlurmsBrackets) {
  EXPECT_THAT(expand_hosts("login"), Optional(ElementsAre("login")));
  EXPECT_THAT(expand_hosts("a,b-2,c"), Optional(ElementsAre("a", "b-2", "c")));
  EXPECT_THAT(expand_hosts("gpu[08-11]"),
              Optional(ElementsAre("gpu08", "gpu09", "gpu10", "gpu11")));
  EXPECT_THAT(expand_hosts("n[1,3-4,07].site,big"),
              Optional(ElementsAre("n1.site", "n3.site", "n4.site", "n07.site", "big")));
  EXPECT_THAT(expand_hosts("r[1-2]n[1-2]"), Optional(ElementsAre("r1n1", "r1n2", "r2n1", "r2n2")));
  EXPECT_THAT(expand_hosts("n[099-101]"), Optional(ElementsAre("n099", "n100", "n101")));
}

TEST(ExpandHosts, RefusesWhatIsMalformed) {
  for (const char* list : {"", "a,,b", "a,", "n[1-2", "n1-2]", "n[]", "n[2-1]", "n[x]", "n[1-]",
                           "n[[1]]", "n[1,]", "n[0-9999999]", "n[1-2]]"}) {
    EXPECT_EQ(expand_hosts(list), std::nullopt) << list;
  }
}

TEST(ExpandCounts, KnowsRepetitions) {
  EXPECT_THAT(expand_counts("4"), Optional(ElementsAre(4)));
  EXPECT_THAT(expand_counts("4(x2),3"), Optional(ElementsAre(4, 4, 3)));
  EXPECT_THAT(expand_counts("1,2(x3)"), Optional(ElementsAre(1, 2, 2, 2)));
  for (const char* list : {"", "4(x2", "4(2)", "(x2)", "4,", "x", "4(x2)3", "1(x9999999)"})
    EXPECT_EQ(expand_counts(list), std::nullopt) << list;
}

TEST(ParseCount, TakesWholeNumbersOnly) {
  EXPECT_EQ(parse_count("0"), 0);
  EXPECT_EQ(parse_count("2147483647"), 2147483647);
  for (const char* text : {"", "-1", "+1", " 1", "1 ", "1.0", "2147483648", "0x1"})
    EXPECT_EQ(parse_count(text), std::nullopt) << text;
}

}  // namespace
}  // namespace hg
