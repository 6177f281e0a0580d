#include "train/trained_run.h"

#include <gmock/gmock.h>

#include "support/saved_run.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

TEST(TrainedRun, OpensTheNewestCheckpointOrTheOneThatIsNamed) {
  const TempFolder folder;
  RunConfig config = small_run_config();
  save_run(folder, config, 8);
  config.name = "later";
  const auto run = save_run(folder, config, 12);
  const TrainedRun newest = open_trained_run(run);
  EXPECT_EQ(newest.checkpoint, run / "checkpoints" / "step-00000012");
  EXPECT_EQ(newest.config.name, "later");
  EXPECT_EQ(newest.tokenizer->decode(newest.tokenizer->encode("as it is")), "as it is");
  const auto first = run / "checkpoints" / "step-00000008";
  EXPECT_EQ(open_trained_run(run, "step-00000008").checkpoint, first);
  EXPECT_EQ(open_trained_run(run, first).config.name, "run");
  EXPECT_EQ(open_trained_run(run, std::filesystem::relative(first)).checkpoint,
            std::filesystem::relative(first));
}

TEST(TrainedRun, SaysWhatIsMissing) {
  const TempFolder folder;
  const auto error = [](const auto&... arguments) {
    return error_of([&] { open_trained_run(arguments...); });
  };
  EXPECT_THAT(error(folder / "run"), HasSubstr("there is no such run folder"));
  EXPECT_THAT(error(folder.path()), HasSubstr("no checkpoint in"));
  RunConfig config = small_run_config();
  config.model.vocab_size = 100;
  const auto run = save_run(folder, config);
  EXPECT_THAT(error(run, "step-00000002"), HasSubstr("step-00000002: there is no such checkpoint"));
  EXPECT_THAT(error(run), HasSubstr("257 ids, more than model.vocab_size = 100"));
}

}  // namespace
}  // namespace hg::test
