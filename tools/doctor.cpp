// headgate doctor: checks the ranks, their nodes and what connects them before a run.
#include <unistd.h>

#include "commands.h"
#include "config_options.h"
#include "train/doctor/doctor.h"
#include "world.h"

namespace hg::tools {
namespace {

constexpr std::int64_t kMi = std::int64_t{1} << 20;
constexpr double kSecondsPerCollective = 0.2;

struct DoctorOptions {
  ConfigOptions config;
  std::string folder;
  std::string device;
  WorldOptions world;
};

/// Prints findings as they come, on rank 0, and counts.
class Report {
 public:
  explicit Report(bool prints) : prints_(prints) {}

  void add(const Finding& finding) {
    errors_ += finding.severity == Severity::error;
    warnings_ += finding.severity == Severity::warning;
    if (!prints_) return;
    fmt::print("{}\n", finding.to_string());
    std::fflush(stdout);  // the next line may take seconds
  }
  void add(const std::vector<Finding>& findings) {
    for (const Finding& finding : findings) add(finding);
  }
  void print_sum() const {
    if (prints_) fmt::print("{}, {}\n", counted(errors_, "error"), counted(warnings_, "warning"));
  }
  int errors() const { return errors_; }

 private:
  static std::string counted(int count, const char* what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
  }
  const bool prints_;
  int errors_ = 0, warnings_ = 0;
};

/// The facts of this rank; the run folder's name comes from the config unless it was given.
RankFacts collect(const DoctorOptions& options, const World& found, Comm& world) {
  RankFacts facts;
  add_node_facts(facts, found, environ);
  std::string folder = options.folder;
  RunConfig config;
  config.training.device = options.device == "cuda" ? Device::cuda : Device::cpu;
  if (!options.config.path.empty()) {
    try {
      const auto loaded = options.config.load();
      add_config_facts(facts, loaded.value, to_yaml(loaded.value, loaded.origins), world.rank(),
                       world.size());
      if (folder.empty()) folder = "runs/" + loaded.value.name;
      config = loaded.value;
    } catch (const std::exception& e) {
      facts.has_config = true;
      facts.config_error = e.what();
    }
  }
  add_gpu_facts(facts, config, {.device = found.local_rank});
  add_folder_facts(facts, world, folder.empty() ? "runs" : folder);
  return facts;
}

/// Twice, with a small and a large tensor, which is smaller where that would take long.
void measure_links(Comm& world, std::span<const RankFacts> ranks, Report& report) {
  report.add(judge_pairs(measure_pairs(world, 4 * kMi), ranks));
  auto speeds = measure_collectives(world, 4 * kMi, kSecondsPerCollective);
  const bool slow = speeds.front().seconds > 0.02;
  const auto large = measure_collectives(world, (slow ? 16 : 64) * kMi, kSecondsPerCollective);
  speeds.insert(speeds.end(), large.begin(), large.end());
  report.add(report_collectives(speeds));
}

/// Returns the errors that were found, the same on every rank.
int examine(const DoctorOptions& options, const World& found, Comm& world) {
  share_cores(world);
  const auto ranks = gather_facts(world, collect(options, found, world));
  Report report(world.rank() == 0);
  report.add(judge_nodes(ranks));
  report.add(judge_gpus(ranks));
  report.add(judge_config(ranks));
  report.add(judge_folder(ranks));
  if (world.size() > 1) {
    // Elsewhere than on rank 0 there is nothing to judge, and a clock is never an error.
    if (const auto clocks = measure_clocks(world); !clocks.empty())
      report.add(judge_clocks(clocks));
    measure_links(world, ranks, report);
  }
  report.print_sum();
  return report.errors();
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto* command = app.add_subcommand(
      "doctor", "Check ranks, nodes, files and links before a run; start it as the run");
  const auto options = std::make_shared<DoctorOptions>();
  options->config.add_to(*command, false);
  command->add_option("--run", options->folder, "Run folder; default runs/NAME, or runs");
  command->add_option("--device", options->device, "cpu or cuda: as --set training.device")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  options->world.timeout = 120;
  options->world.add_to(*command);
  command->callback([options] {
    if (!options->device.empty())
      options->config.overrides.push_back("training.device=" + options->device);
    int errors = 0;
    run_connected(options->world, "", [&](const World& found, Comm& world) {
      errors = examine(*options, found, world);
    });
    if (errors > 0) throw CLI::RuntimeError(1);  // the report has said which
  });
}

}  // namespace hg::tools
