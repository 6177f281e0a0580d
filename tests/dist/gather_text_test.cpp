#include "dist/gather_text.h"

#include <gtest/gtest.h>

#include "dist/comm_self.h"
#include "dist/run_ranks.h"

namespace hg::test {
namespace {

TEST(GatherText, GivesEveryRankTheTextOfAll) {
  const std::vector<std::string> texts = {"", std::string("a\0b", 3), std::string(1001, 'x')};
  run_ranks(3, [&](Comm& comm) {
    const auto own = texts[static_cast<std::size_t>(comm.rank())];
    EXPECT_EQ(gather_text(comm, own), texts);
  });
}

TEST(GatherText, WorksAlone) {
  EXPECT_EQ(gather_text(*alone(), "only"), std::vector<std::string>{"only"});
  EXPECT_EQ(gather_text(*alone(), ""), std::vector<std::string>{""});
}

}  // namespace
}  // namespace hg::test
