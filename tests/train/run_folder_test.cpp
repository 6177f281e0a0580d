// Whether all ranks see one run folder.
#include "train/run_folder.h"

#include <gmock/gmock.h>

#include "dist/run_ranks.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

namespace fs = std::filesystem;

TEST(RunFolder, IsOneFolderOnAllRanks) {
  const TempFolder folder;
  run_ranks(3, [&](Comm& world) { const RunFolder run(folder / "run", &world); });
  EXPECT_TRUE(fs::is_empty(folder / "run" / "checkpoints"));
  try {
    run_ranks(3, [&](Comm& world) {
      const RunFolder run(folder / (world.rank() == 1 ? "other" : "run"), &world);
    });
    FAIL() << "rank 1 has another folder";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::ContainsRegex("rank 1: .*/other/checkpoints does not show here "
                                                 "what rank 0 has written there"));
  }
  EXPECT_TRUE(fs::is_empty(folder / "run" / "checkpoints"));
}

}  // namespace
}  // namespace hg::test
