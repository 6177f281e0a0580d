// The same run on one rank and on many: losses, gradient norms and final weights of every layout
// that the config can describe, with ranks as threads.
#include <gtest/gtest.h>

#include "dist/run_ranks.h"
#include "support/compare.h"
#include "support/model_variants.h"
#include "support/small_run.h"
#include "train/checkpoint/saved_tensors.h"

namespace hg::test {
namespace {

struct LayoutCase {
  const char* model;
  int ranks;
  std::int64_t pipeline = 1, chunks = 1, context = 1, tensor = 1, expert = 1, zero = 0;
  bool sequence = false;
  Recompute recompute = Recompute::none;
  std::int64_t sequences = 1;  // of a micro-batch
};

void PrintTo(const LayoutCase& c, std::ostream* out) {  // CTest shows it
  *out << c.model << " on " << c.ranks << " ranks";
}

std::string name_of_case(const testing::TestParamInfo<LayoutCase>& one) {
  const LayoutCase& c = one.param;
  const char* const recompute[] = {"", "_cheap", "_recompute"};
  return fmt::format("{}_{}ranks_mb{}_pp{}x{}_cp{}_tp{}{}_ep{}_zero{}{}", c.model, c.ranks,
                     c.sequences, c.pipeline, c.chunks, c.context, c.tensor, c.sequence ? "sp" : "",
                     c.expert, c.zero, recompute[static_cast<int>(c.recompute)]);
}

class LayoutsTest : public SmallRun, public testing::WithParamInterface<LayoutCase> {
 protected:
  LayoutsTest() {
    const std::string model = GetParam().model;
    if (GetParam().pipeline > 1) config.model.num_hidden_layers = 5;  // not equally on all stages
    config.model.vocab_size = 260;                                    // divisible by 4
    config.model.num_attention_heads = 8;
    config.model.num_key_value_heads = 4;
    config.model.head_dim = 8;
    config.training.steps = 4;
    config.training.micro_batch_size = 1;
    config.training.global_batch_size = 8;
    config.training.replica_check_interval = 2;
    config.validation.interval = 4;
    config.checkpoint.interval = 4;
    config.metrics.instrument_interval = config.metrics.details_interval = 2;
    choose_model(config.model, model);
  }

  void run_on(int ranks, const std::string& name) {
    const std::string resolved = to_yaml(config);
    run_ranks(ranks, [&](Comm& world) {
      train(config, {.folder = folder / name,
                     .resolved_config = resolved,
                     .console = nullptr,
                     .world = &world,
                     .peak_flops = 1e12});
    });
  }

  /// A score that lies where it is counted may fall on either side: what that is to a value.
  static double one_score(const std::string& name) {
    const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
    if (has("histogram")) return 1;
    return has("below_") || has("above_")
               ? 1.0 / 32
               : 0;  // of a headwise gate's scores of one head, which are the fewest
  }
  /// All that a look at a step says, or one part of it.
  void expect_same_look(const nlohmann::json& many, const nlohmann::json& one,
                        const std::string& name) {
    ASSERT_EQ(many.type() == one.type() || (many.is_number() && one.is_number()), true) << name;
    ASSERT_EQ(many.size(), one.size()) << name;
    if (one.is_object()) {
      for (const auto& [key, value] : one.items()) {
        ASSERT_TRUE(many.contains(key)) << name << " has no " << key;
        if (key != "time") expect_same_look(many.at(key), value, name + "." + key);
      }
    } else if (one.is_array()) {
      for (std::size_t i = 0; i < one.size(); ++i)
        expect_same_look(many[i], one[i], fmt::format("{}[{}]", name, i));
    } else if (name.ends_with(".channel")) {
      // Which of two values is the larger may be a matter of rounding; the value is compared.
    } else if (one.is_number()) {
      const double expected = one.get<double>();
      const double rounding = 2e-4 * std::max(1e-2, std::abs(expected));
      EXPECT_NEAR(many.get<double>(), expected, rounding + one_score(name)) << name;
    } else {
      EXPECT_EQ(many, one) << name;
    }
  }

  void expect_same_looks() {
    const auto one = rows("one", "instruments"), many = rows("many", "instruments");
    const auto details = [&](const char* name) {
      std::vector<nlohmann::json> found;
      std::ifstream file(folder / name / "instruments.jsonl");
      for (std::string line; std::getline(file, line);)
        found.push_back(nlohmann::json::parse(line));
      return found;
    };
    ASSERT_EQ(one.size(), 2U);
    expect_same_look(many, one, "looks");
    expect_same_look(details("many"), details("one"), "details");
  }

  void expect_same_rows(const std::string& kind, const std::vector<std::string>& values) {
    const auto one = rows("one", kind), many = rows("many", kind);
    ASSERT_EQ(one.size(), many.size()) << kind;
    ASSERT_FALSE(one.empty()) << kind;
    for (std::size_t i = 0; i < one.size(); ++i) {
      for (const std::string& name : values) {
        if (!one[i].contains(name)) continue;
        const double expected = one[i].at(name);
        EXPECT_NEAR(many[i].at(name), expected, 2e-5 * std::max(1e-2, std::abs(expected)))
            << name << " at step " << one[i].at("step");
      }
    }
  }
};

TEST_P(LayoutsTest, TrainsAsOneRankDoes) {
  const LayoutCase& c = GetParam();
  config.training.recompute = c.recompute;
  config.training.micro_batch_size = c.sequences;
  run("one");
  config.parallelism = {.pipeline = c.pipeline,
                        .pipeline_chunks = c.chunks,
                        .data = std::nullopt,
                        .context = c.context,
                        .tensor = c.tensor,
                        .expert = c.expert,
                        .zero_stage = c.zero,
                        .sequence_parallel = c.sequence};
  run_on(c.ranks, "many");
  expect_same_rows("train",
                   {"loss_metrics/global_avg_loss", "loss_metrics/global_max_loss", "grad_norm"});
  expect_same_rows("val", {"validation_metrics/loss"});
  expect_same_looks();
  for (const char* part : {"model", "optimizer"}) {
    const SavedTensors one(checkpoint("one", "step-00000004"), part),
        many(checkpoint("many", "step-00000004"), part);
    ASSERT_EQ(one.names(), many.names());
    for (const std::string& name : one.names()) {
      ASSERT_EQ(one.shape(name), many.shape(name)) << name;
      const std::vector<float> expected = one.whole(name), found = many.whole(name);
      const auto view = [&](const auto& v) {
        return ConstTensor(v.data(), DType::f32, {std::ssize(v)});
      };
      EXPECT_LT(relative_error(view(found), view(expected)), 5e-4) << part << " " << name;
    }
  }
}

constexpr LayoutCase kData[] = {
    {.model = "gated", .ranks = 1, .zero = 3},
    {.model = "gated", .ranks = 2, .zero = 0},
    {.model = "gated", .ranks = 2, .zero = 1},
    {.model = "gated", .ranks = 4, .zero = 2},
    {.model = "gated", .ranks = 4, .zero = 3},
    {.model = "gated", .ranks = 8, .zero = 3, .recompute = Recompute::block},
    {.model = "dense", .ranks = 2, .zero = 1},
    {.model = "untied", .ranks = 2, .zero = 3},
    {.model = "moe", .ranks = 2, .zero = 1},
    {.model = "moe", .ranks = 2, .zero = 3},
    {.model = "biased", .ranks = 4, .zero = 2},
    {.model = "mixed", .ranks = 4, .zero = 2},
    {.model = "mixed", .ranks = 4, .zero = 3},
};
constexpr LayoutCase kTensor[] = {
    {.model = "gated", .ranks = 2, .tensor = 2},
    {.model = "gated", .ranks = 4, .tensor = 4},
    {.model = "gated", .ranks = 4, .tensor = 2, .zero = 1},
    {.model = "gated", .ranks = 2, .tensor = 2, .recompute = Recompute::block},
    {.model = "untied", .ranks = 2, .tensor = 2},
    {.model = "headwise", .ranks = 2, .tensor = 2},
    {.model = "shared", .ranks = 4, .tensor = 4},
    {.model = "value", .ranks = 4, .tensor = 4, .sequence = true},
    {.model = "sinks", .ranks = 4, .tensor = 2, .zero = 3, .sequence = true},
    {.model = "dense", .ranks = 8, .tensor = 4, .zero = 3},
    {.model = "gated", .ranks = 2, .tensor = 2, .sequence = true},
    {.model = "untied", .ranks = 4, .tensor = 2, .zero = 2, .sequence = true},
    {.model = "gated",
     .ranks = 8,
     .tensor = 4,
     .zero = 3,
     .sequence = true,
     .recompute = Recompute::block},
    {.model = "moe", .ranks = 2, .tensor = 2, .sequence = true},
    {.model = "moe", .ranks = 4, .tensor = 2, .zero = 1, .sequence = true},
};
constexpr LayoutCase kExperts[] = {
    {.model = "moe", .ranks = 2, .expert = 2},
    {.model = "moe", .ranks = 4, .expert = 4, .zero = 1},
    {.model = "moe", .ranks = 4, .expert = 2, .zero = 3},
    {.model = "biased", .ranks = 4, .expert = 2, .zero = 2, .recompute = Recompute::block},
    {.model = "moe", .ranks = 4, .tensor = 2, .expert = 4, .zero = 1, .sequence = true},
    {.model = "biased", .ranks = 8, .tensor = 2, .expert = 4, .zero = 3, .sequence = true},
};
constexpr LayoutCase kPipeline[] = {
    {.model = "gated", .ranks = 2, .pipeline = 2},
    {.model = "untied", .ranks = 2, .pipeline = 2, .recompute = Recompute::block},
    {.model = "dense", .ranks = 4, .pipeline = 4, .zero = 1},
    {.model = "gated", .ranks = 2, .pipeline = 2, .chunks = 2},
    {.model = "untied", .ranks = 4, .pipeline = 2, .chunks = 2, .zero = 1},
    {.model = "gated", .ranks = 4, .pipeline = 2, .zero = 1},
    {.model = "gated", .ranks = 4, .pipeline = 2, .zero = 2},
    {.model = "gated", .ranks = 4, .pipeline = 2, .zero = 3, .recompute = Recompute::block},
    {.model = "gated", .ranks = 4, .pipeline = 2, .chunks = 2, .tensor = 2},
    {.model = "sinks", .ranks = 8, .pipeline = 2, .tensor = 2, .zero = 1, .sequence = true},
    {.model = "biased", .ranks = 2, .pipeline = 2},
    {.model = "moe", .ranks = 4, .pipeline = 2, .expert = 2, .zero = 1},
    {.model = "moe",
     .ranks = 8,
     .pipeline = 2,
     .tensor = 2,
     .expert = 4,
     .zero = 3,
     .sequence = true},
    {.model = "biased", .ranks = 8, .pipeline = 4, .expert = 2, .zero = 2},
    {.model = "gated", .ranks = 8, .pipeline = 2, .chunks = 2, .context = 2, .zero = 1},
    {.model = "moe",
     .ranks = 8,
     .pipeline = 2,
     .context = 2,
     .tensor = 2,
     .expert = 4,
     .sequence = true},
};
INSTANTIATE_TEST_SUITE_P(Pipeline, LayoutsTest, testing::ValuesIn(kPipeline), name_of_case);

constexpr LayoutCase kContext[] = {
    {.model = "gated", .ranks = 2, .context = 2},
    {.model = "dense", .ranks = 4, .context = 4, .zero = 1},
    {.model = "untied", .ranks = 4, .context = 2, .zero = 2},
    {.model = "gated", .ranks = 4, .context = 2, .zero = 1, .sequences = 2},
    {.model = "gated", .ranks = 8, .context = 4, .zero = 3, .recompute = Recompute::block},
    {.model = "gated", .ranks = 2, .context = 2, .recompute = Recompute::cheap},
    {.model = "value", .ranks = 4, .context = 2, .zero = 1, .recompute = Recompute::cheap},
    {.model = "sinks", .ranks = 4, .context = 4, .zero = 3},
    {.model = "rotated_key", .ranks = 2, .context = 2},
    {.model = "headwise", .ranks = 4, .context = 2, .tensor = 2},
    {.model = "gated", .ranks = 8, .context = 2, .tensor = 2, .zero = 1, .sequence = true},
    {.model = "sinks",
     .ranks = 8,
     .context = 2,
     .tensor = 4,
     .sequence = true,
     .recompute = Recompute::block},
    {.model = "moe", .ranks = 2, .context = 2},
    {.model = "moe", .ranks = 4, .context = 2, .expert = 4, .zero = 1},
    {.model = "biased", .ranks = 8, .context = 4, .expert = 2, .zero = 3},
    {.model = "moe",
     .ranks = 8,
     .context = 2,
     .tensor = 2,
     .expert = 4,
     .zero = 2,
     .sequence = true},
};
INSTANTIATE_TEST_SUITE_P(Context, LayoutsTest, testing::ValuesIn(kContext), name_of_case);
INSTANTIATE_TEST_SUITE_P(Tensor, LayoutsTest, testing::ValuesIn(kTensor), name_of_case);
INSTANTIATE_TEST_SUITE_P(Experts, LayoutsTest, testing::ValuesIn(kExperts), name_of_case);
INSTANTIATE_TEST_SUITE_P(Data, LayoutsTest, testing::ValuesIn(kData), name_of_case);

}  // namespace
}  // namespace hg::test
