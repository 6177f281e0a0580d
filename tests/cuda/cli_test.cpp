// The program with --device cuda: beside a module that has a simulated GPU, and beside the real one
// on a machine that has none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/finish.h"
#include "support/paths.h"
#include "support/small_run.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

class CudaCli : public SmallRun {
 protected:
  /// configs/tiny.yaml, smaller, on bytes.
  std::string train(const char* device) const {
    return fmt::format(
        " train {} --device {} --run {} --set model.vocab_size=257 --set model.hidden_size=64 "
        "--set model.num_hidden_layers=2 --set model.intermediate_size=128 "
        "--set model.num_attention_heads=2 --set model.num_key_value_heads=1 "
        "--set training.precision=f32 --set training.steps=3 --set training.seq_len=32 "
        "--set training.micro_batch_size=2 --set training.global_batch_size=2 "
        "--set data.train={} --set data.validation={} --set data.tokenizer=byte "
        "--set validation.sequences=2",
        source_path("configs/tiny.yaml"), device, (folder / device).string(), config.data.train,
        config.data.validation);
  }
  double last_loss(const char* device) const {
    return rows(device, "train").back().at("loss_metrics/global_avg_loss");
  }
};

TEST_F(CudaCli, TrainsOnASimulatedGpuAsOnTheProcessor) {
  const Finished cpu = finish(kSimulated + train("cpu")), cuda = finish(kSimulated + train("cuda"));
  ASSERT_EQ(cpu.exit_code, 0) << cpu.output;
  ASSERT_EQ(cuda.exit_code, 0) << cuda.output;
  EXPECT_THAT(cuda.output, HasSubstr("a simulated GPU"));
  EXPECT_NEAR(last_loss("cuda"), last_loss("cpu"), 1e-5 * last_loss("cpu"));
}

TEST_F(CudaCli, TheDoctorOpensTheGpu) {
  write_file(folder / "run.yaml", to_yaml(config));
  const std::string asked =
      fmt::format(" doctor {0}/run.yaml --run {0}/run --device cuda", folder.path().string());
  const Finished found = finish(kSimulated + asked + " --set training.precision=auto");
  EXPECT_EQ(found.exit_code, 0) << found.output;
  EXPECT_THAT(found.output, HasSubstr("ok       gpu             a simulated GPU, sm_90"));
  EXPECT_THAT(found.output, HasSubstr("8.0 GiB available on rank 0's, of which a run takes "));
  EXPECT_THAT(found.output, HasSubstr("computing in bf16"));
  const Finished stages = finish(kSimulated + asked + " --set parallelism.pipeline=2");
  EXPECT_EQ(stages.exit_code, 1) << stages.output;
  EXPECT_THAT(stages.output, HasSubstr("error    gpu             training.device cuda does not do "
                                       "pipelines yet"));
  const Finished missing = finish(kHeadgate + asked);
  if (missing.exit_code == 0) GTEST_SKIP() << "there is a GPU";
  EXPECT_THAT(missing.output, HasSubstr("error    gpu             "));
}

TEST_F(CudaCli, WithoutAGpuSaysSoInOneSentence) {
  const Finished result = finish(kHeadgate + train("cuda"));
  if (result.exit_code == 0) GTEST_SKIP() << "there is a GPU";
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, testing::AnyOf(HasSubstr("there is no GPU that CUDA can use here"),
                                            HasSubstr("this headgate was built without CUDA")));
  EXPECT_FALSE(fs::exists(folder / "cuda"));
}

}  // namespace
}  // namespace hg::test
