#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "core/random.h"
#include "data/token_writer.h"
#include "dist/run_ranks.h"
#include "train/layout.h"
#include "train/selftest/selftest.h"
#include "train/trainer.h"

namespace hg {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kSteps = 4;

/// Documents of random tokens, gone with the object.
class TokenFolder {
 public:
  explicit TokenFolder(std::int64_t vocab_size) {
    std::string name = (fs::temp_directory_path() / "headgate_selftest_XXXXXX").string();
    HG_CHECK(::mkdtemp(name.data()) != nullptr, "cannot make a temporary folder like {}", name);
    path_ = name;
    TokenWriter writer(prefix(), vocab_size);
    const RandomStream random(11, "selftest");
    for (std::uint64_t document = 0, at = 0; document < 64; ++document) {
      std::vector<std::int32_t> ids(3 + random.bits(at++) % 40);
      for (std::int32_t& id : ids)
        id = static_cast<std::int32_t>(random.bits(at++) % static_cast<std::uint64_t>(vocab_size));
      writer.add_document(ids);
    }
    writer.finish();
  }
  ~TokenFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TokenFolder(const TokenFolder&) = delete;
  TokenFolder& operator=(const TokenFolder&) = delete;
  std::string prefix() const { return (path_ / "tokens").string(); }

 private:
  fs::path path_;
};

struct StepNumbers {
  double loss, grad_norm;
};

/// Steps of one rank, as training makes them.
std::vector<StepNumbers> steps_of(const RunConfig& config, const TokenFile& file,
                                  const Mesh& mesh) {
  const CpuInfo cpu = detect_cpu();
  const auto run = make_training_model(config, cpu, plan_step(config, cpu, mesh), mesh);
  run->store.initialize(static_cast<std::uint64_t>(config.training.seed));
  run->store.publish(run->ctx);
  Loader loader(file, {.seed = 1,
                       .seq_len = config.training.seq_len,
                       .sequences = config.training.micro_batch_size,
                       .rank = mesh.data.rank,
                       .ranks = mesh.data.size});
  Trainer trainer(config, *run, loader, {});
  std::vector<StepNumbers> steps;
  for (std::int64_t i = 0; i < kSteps; ++i) {
    const StepResult step = trainer.step();
    steps.push_back({step.loss, step.grad_norm});
  }
  return steps;
}

struct Layout {
  const char* model;  // of selftest_models()
  int ranks;
  ParallelismConfig parallelism;
};

const std::vector<Layout>& layouts() {
  static const char *const gated = "gate at sdpa, elementwise",
                           *const ungated = "no gate, head of its own",
                           *const experts = "experts, softmax router";
  static const std::vector<Layout> all = {
      {gated, 2, {.zero_stage = 0}},
      {gated, 2, {.zero_stage = 1}},
      {ungated, 4, {.zero_stage = 2}},
      {gated, 4, {.zero_stage = 3}},
      {gated, 2, {.tensor = 2}},
      {ungated, 4, {.tensor = 4, .sequence_parallel = true}},
      {gated, 2, {.pipeline = 2}},
      {ungated, 4, {.pipeline = 2, .tensor = 2, .zero_stage = 1}},
      {experts, 2, {.expert = 2}},
      {experts, 4, {.tensor = 2, .expert = 4, .zero_stage = 1, .sequence_parallel = true}},
      {experts, 4, {.pipeline = 2, .expert = 2, .zero_stage = 3}},
  };
  return all;
}

}  // namespace

void check_layouts(const SelftestReport& report) {
  const auto models = selftest_models();
  const TokenFolder folder(models.front().config.model.vocab_size);
  const TokenFile file(folder.prefix(), models.front().config.model.vocab_size);
  for (const Layout& layout : layouts()) {
    RunConfig config = std::ranges::find(models, layout.model, &SelftestModel::name)->config;
    config.training.micro_batch_size = 1;
    const auto expected = steps_of(config, file, {});
    config.parallelism = layout.parallelism;
    const MeshShape shape = layout_of(config, layout.ranks);
    std::vector<StepNumbers> found;
    run_ranks(layout.ranks, [&](Comm& world) {
      const MeshComms comms(world, shape);
      const auto steps = steps_of(config, file, comms.mesh());
      if (world.rank() == 0) found = steps;
    });
    SelftestResult worst{
        .part = "layouts",
        .what = fmt::format("{}, ZeRO {}", shape.to_string(), config.parallelism.zero_stage),
        .error = 0,
        .limit = 2e-4,
        .where = layout.model};
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const auto see = [&](const char* what, double many, double one) {
        worst.see(std::abs(many / one - 1),
                  fmt::format("{}: {} of step {}", layout.model, what, i + 1));
      };
      see("loss", found[i].loss, expected[i].loss);
      see("gradient norm", found[i].grad_norm, expected[i].grad_norm);
    }
    report(worst);
  }
}

}  // namespace hg
