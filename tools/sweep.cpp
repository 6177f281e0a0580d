// headgate sweep: many runs from one file, and what they say of learning rates.
#include <cstdlib>
#include <optional>
#include <string>

#include "commands.h"
#include "core/file.h"
#include "core/log.h"
#include "train/stop_signals.h"
#include "train/sweep/job_files.h"
#include "train/sweep/run_sweep.h"

namespace hg::tools {
namespace {

struct SweepCommand {
  std::string file, slurm, kubernetes;
  std::optional<std::int64_t> jobs, point;
  bool list = false, collect = false;
};

void print_points(const Sweep& sweep) {
  for (std::size_t i = 0; i < sweep.points.size(); ++i) {
    fmt::print("{:>4}  {:<40} {}\n", i, sweep.points[i].name, sweep.points[i].values.dump());
  }
}

void print_outcome(const Sweep& sweep, const SweepResults& results) {
  std::size_t failed = 0, diverged = 0, left = 0;
  for (const PointResult& result : results) {
    failed += result.status == PointStatus::failed ? 1 : 0;
    diverged += result.status == PointStatus::diverged ? 1 : 0;
    left += result.ended() ? 0 : 1;
  }
  fmt::print("\n{}\n{} run{}: {} diverged, {} failed, {} not done\nresults      {}, sweep.csv\n",
             variants_text(summarize_variants(sweep, results)), results.size(),
             results.size() == 1 ? "" : "s", diverged, failed, left,
             (sweep.folder / "sweep.json").string());
  HG_CHECK(failed == 0, "{} of {} runs failed; their logs are in {}", failed, results.size(),
           (sweep.folder / "logs").string());
}

void sweep(const SweepCommand& command) {
  const Sweep sweep = load_sweep(command.file);
  HG_CHECK(!command.point || (0 <= *command.point && *command.point < std::ssize(sweep.points)),
           "--point {}: {} has points 0 to {}", *command.point, command.file,
           sweep.points.size() - 1);
  HG_CHECK(command.jobs.value_or(1) > 0, "--jobs {}: expected at least one", *command.jobs);
  check_folder(sweep);
  if (const std::string warning = warning_about(sweep); !warning.empty()) log_warn("{}", warning);
  if (command.list) return print_points(sweep);
  if (!command.slurm.empty()) write_file(command.slurm, slurm_script(sweep));
  if (!command.kubernetes.empty()) write_file(command.kubernetes, kubernetes_job(sweep));
  if (!command.slurm.empty() || !command.kubernetes.empty()) return;
  if (command.collect) {
    const SweepResults results = read_results(sweep);
    write_results(sweep, results);
    return print_outcome(sweep, results);
  }
  ::setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/0);  // runs beside each other share cores
  const StopSignals signals;
  SweepOptions options{.program = "/proc/self/exe",
                       .jobs = command.jobs.value_or(sweep.config.jobs),
                       .console = stderr,
                       .stop = [&] { return signals.received() != 0; }};
  options.program = std::filesystem::read_symlink(options.program);
  if (!command.point) return print_outcome(sweep, run_sweep(sweep, options));
  const auto index = static_cast<std::size_t>(*command.point);
  options.only = index;
  const PointResult result = run_sweep(sweep, options)[index];
  HG_CHECK(result.status != PointStatus::failed, "{}: {}", sweep.points[index].name, result.reason);
}

}  // namespace

void add_sweep(CLI::App& app) {
  auto* command = app.add_subcommand("sweep", "Train many runs from one file and compare them");
  const auto options = std::make_shared<SweepCommand>();
  command->add_option("file", options->file, "YAML sweep file")->required();
  command->add_option("--jobs", options->jobs, "Runs at a time; default: the file's");
  command->add_flag("--list", options->list, "Only check the file and list its runs");
  command->add_option("--point", options->point, "Run this one only, counted from 0");
  command->add_flag("--collect", options->collect, "Only write sweep.json of runs that have ended");
  command->add_option("--slurm", options->slurm, "Only write a Slurm script with a task per run");
  command->add_option("--kubernetes", options->kubernetes,
                      "Only write a Kubernetes job with a pod per run");
  command->callback([options] { sweep(*options); });
}

}  // namespace hg::tools
