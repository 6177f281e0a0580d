#include "train/inspect/probe.h"

#include <gmock/gmock.h>

#include "support/saved_run.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

class ProbeTest : public testing::Test {
 protected:
  ProbeTest() {
    config.data.validation = write_tokens(folder, counting_documents({90, 40, 120}), 257);
    config.model.attention.gate.init_std = 0.25;
  }
  std::vector<GateProbe> probe(const std::vector<double>& factors) const {
    return probe_gate_scale(open_trained_run(save_run(folder, config)), factors);
  }
  double loss(double factor) const { return probe({factor})[0].evaluation.loss; }

  TempFolder folder;
  RunConfig config = small_run_config();
};

TEST_F(ProbeTest, ScaledWeightsAreThoseDrawnWithAScaledDeviation) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    config.training.precision = precision;
    for (const GateHeads heads : {GateHeads::specific, GateHeads::shared}) {  // fused, and apart
      config.model.attention.gate.heads = heads;
      config.model.attention.gate.init_std = 0.25;
      const auto probes = probe({1, 2, 0, 1});
      ASSERT_EQ(probes.size(), 4U);
      EXPECT_EQ(probes[0].evaluation.loss, probes[3].evaluation.loss);
      EXPECT_EQ(probes[0].evaluation.targets, 190);  // the ends of two documents have none
      EXPECT_NE(probes[0].evaluation.loss, probes[1].evaluation.loss);
      config.model.attention.gate.init_std = 0.5;
      EXPECT_EQ(probes[1].evaluation.loss, loss(1));
      config.model.attention.gate.init_std = 0;
      EXPECT_EQ(probes[2].evaluation.loss, loss(1));
    }
  }
}

TEST_F(ProbeTest, TellsEachResultAsItComes) {
  std::vector<double> heard;
  const std::vector<double> factors = {0.5, 1};
  const auto probes =
      probe_gate_scale(open_trained_run(save_run(folder, config)), factors,
                       [&](const GateProbe& probe) { heard.push_back(probe.evaluation.loss); });
  EXPECT_THAT(heard, testing::ElementsAre(probes[0].evaluation.loss, probes[1].evaluation.loss));
}

TEST_F(ProbeTest, NeedsAGateAndData) {
  config.model.attention.gate.position = GatePosition::none;
  EXPECT_THAT(error_of([&] { loss(1); }), HasSubstr("no gate"));
  config.data.validation = "";
  EXPECT_THAT(error_of([&] { loss(1); }), HasSubstr("data.validation is empty"));
}

}  // namespace
}  // namespace hg::test
