#include "train/sweep/run_sweep.h"

#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <iterator>
#include <list>
#include <memory>
#include <thread>

#include "core/clock.h"
#include "core/file.h"
#include "train/checkpoint/checkpoint_folder.h"
#include "train/exit_code.h"
#include "train/metrics/json_lines.h"
#include "train/sweep/child_process.h"
#include "train/sweep/live_table.h"
#include "train/sweep/metrics_tail.h"
#include "train/sweep/run_needs.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

constexpr auto kPoll = std::chrono::milliseconds(100);
constexpr double kGraceSeconds = 20;  // from asking a run to end to killing it
constexpr int kMostStarts = 3;        // of a run that signals end

/// What a program wrote last of an error, without the time in front; or its last line, without the
/// rules that mpirun draws around what it says.
std::string reason_in(const std::string& output) {
  constexpr std::string_view kError = " E ";
  std::string last, error;
  for_each_line(output, [&](std::string_view line, std::int64_t) {
    if (line.find_first_not_of("- ") != std::string_view::npos) last = line;
    const std::size_t at = line.find(kError);
    if (at != std::string_view::npos) error = line.substr(at + kError.size());
  });
  return error.empty() ? last : error;
}

/// The signal that ended a process, or a rank, of which a launcher says so by its exit code; or 0.
int signal_of(int status) {
  if (WIFSIGNALED(status)) return WTERMSIG(status);
  return WIFEXITED(status) && WEXITSTATUS(status) > 128 ? WEXITSTATUS(status) - 128 : 0;
}

class Runner {
 public:
  Runner(const Sweep& sweep, const SweepOptions& options)
      : sweep_(sweep), options_(options), results_(read_results(sweep)), table_(options.console) {
    for (std::size_t i = 0; i < results_.size(); ++i) {
      if (options.only && *options.only != i) continue;
      if (results_[i].status == PointStatus::failed) results_[i] = {};
      if (!results_[i].ended()) waiting_.push_back(i);
    }
    at_start_ = progress().done;
    const std::int64_t most = std::min<std::int64_t>(options.jobs, std::ssize(waiting_));
    if (uses_gpus()) gpus_ = share_gpus(visible_gpus(), needs_of(sweep).gpus, most);
    free_.resize(static_cast<std::size_t>(most), true);
  }

  SweepResults run() {
    record();
    while (!waiting_.empty() || !running_.empty()) {
      while (std::ssize(running_) < options_.jobs && !waiting_.empty()) start_next();
      std::this_thread::sleep_for(kPoll);
      if (options_.stop && options_.stop()) stop();
      for (auto job = running_.begin(); job != running_.end();) {
        follow(*job);
        if (!settle(*job)) {
          ++job;
          continue;
        }
        free_[job->slot] = true;
        job = running_.erase(job);
      }
      draw();
    }
    return results_;
  }

 private:
  struct Job {
    std::size_t index;
    const SweepPoint& point;
    std::unique_ptr<ChildProcess> child;
    MetricsTail tail;
    std::size_t slot;  // of the runs at a time: which GPUs are its own
    int starts = 1;
    std::optional<Clock::time_point> asked;  // to end
  };

  bool uses_gpus() const {
    return std::ranges::any_of(waiting_, [&](std::size_t i) {
      return sweep_.points[i].config.training.device == Device::cuda;
    });
  }

  void start_next() {
    const std::size_t index = waiting_.front();
    waiting_.pop_front();
    const SweepPoint& point = sweep_.points[index];
    const auto free = std::ranges::find(free_, true);
    const auto slot = static_cast<std::size_t>(free - free_.begin());
    *free = false;
    running_.push_back(
        {.index = index,
         .point = point,
         .child = launch(point, slot),
         .tail = {sweep_.run_folder(point) / "metrics.jsonl", point.config, sweep_.config.diverged},
         .slot = slot,
         .starts = 1,
         .asked = {}});
    results_[index].status = PointStatus::running;
    record();
  }

  std::unique_ptr<ChildProcess> launch(const SweepPoint& point, std::size_t slot) const {
    const fs::path run = sweep_.run_folder(point);
    std::vector<std::string> command;
    if (point.config.training.device == Device::cuda)
      command = {"env", "CUDA_VISIBLE_DEVICES=" + gpus_[slot]};
    std::ranges::move(launcher_words(sweep_.config), std::back_inserter(command));
    command.insert(command.end(), {options_.program.string(), "train",
                                   sweep_.config_file(point).string(), "--run", run.string()});
    return std::make_unique<ChildProcess>(command, sweep_.log_file(point), [&] {
      // What was killed before its first checkpoint has nothing to continue from.
      if (fs::exists(run) && list_checkpoints(run / "checkpoints").empty()) fs::remove_all(run);
    });
  }

  /// Reads what a run has written, and ends it if it has diverged or takes too long to end.
  void follow(Job& job) {
    job.tail.follow();
    if (!job.asked && sweep_.config.diverged.early_stop && job.tail.trace().diverged()) {
      ask_to_end(job);
      job.asked = Clock::now();
    }
    if (job.asked && seconds_since(*job.asked) > kGraceSeconds) job.child->kill();
  }

  void ask_to_end(Job& job) const {
    launcher_words(sweep_.config).empty() ? job.child->terminate() : job.child->terminate_ranks();
  }

  /// Takes note of a run that has ended; true if it is done with. One that a signal ended goes on.
  bool settle(Job& job) {
    const std::optional<int> status = job.child->poll();
    if (!status) return false;
    const std::string output = job.child->output();
    PointTrace trace =
        trace_run(sweep_.run_folder(job.point), job.point.config, sweep_.config.diverged);
    const bool good = WIFEXITED(*status) && WEXITSTATUS(*status) == 0;
    const bool killed = signal_of(*status) != 0;
    if (WIFEXITED(*status) && WEXITSTATUS(*status) == kTrainingFailed) trace.stopped_by_guard();
    PointResult result = trace.result();
    if (result.status == PointStatus::running ||
        (result.status == PointStatus::finished && !good)) {
      const bool interrupted = killed || (good && result.status == PointStatus::running);
      if (interrupted && job.starts < kMostStarts) {
        ++job.starts;
        job.child.reset();
        job.child = launch(job.point, job.slot);
        return false;
      }
      result.status = PointStatus::failed;
      result.reason =
          killed ? fmt::format("ended by signal {}, {} times", signal_of(*status), job.starts)
                 : reason_in(output);
    }
    write_result(sweep_.result_file(job.point), result);
    results_[job.index] = result;
    record();
    tell(job.point, result);
    return true;
  }

  void tell(const SweepPoint& point, const PointResult& result) {
    std::string text = fmt::format("{}: {}", point.name, enum_name(result.status));
    if (!result.reason.empty()) text += ", " + result.reason;
    if (result.status == PointStatus::finished)
      text += fmt::format(", validation loss {:.4f}", result.final_validation_loss);
    table_.message(text, progress());
  }

  void record() const {
    if (!options_.only) write_results(sweep_, results_);
  }

  [[noreturn]] void stop() {
    for (Job& job : running_) ask_to_end(job);
    const auto asked = Clock::now();
    for (Job& job : running_) {
      while (!job.child->poll() && seconds_since(asked) < kGraceSeconds)
        std::this_thread::sleep_for(kPoll);
      job.child->kill();
    }
    fail("the sweep was stopped; start it again to continue");
  }

  ProgressState progress() const {
    ProgressState state{.what = "sweep",
                        .unit = "steps",
                        .total = 0,
                        .start = at_start_,
                        .done = 0,
                        .seconds = seconds_since(begin_)};
    for (std::size_t i = 0; i < results_.size(); ++i) {
      if (options_.only && *options_.only != i) continue;
      // What a run that has ended early did not do needs no time.
      state.total +=
          results_[i].ended() ? results_[i].steps : sweep_.points[i].config.training.steps;
      if (results_[i].ended()) state.done += results_[i].steps;
    }
    for (const Job& job : running_) {
      if (!results_[job.index].ended()) state.done += job.tail.trace().step();
    }
    return state;
  }

  void draw() {
    std::vector<LiveRow> rows;
    for (const Job& job : running_) {
      rows.push_back({.name = job.point.name,
                      .step = job.tail.trace().step(),
                      .steps = job.point.config.training.steps,
                      .loss = job.tail.trace().loss()});
    }
    table_.draw(rows, progress());
  }

  const Sweep& sweep_;
  const SweepOptions& options_;
  SweepResults results_;
  LiveTable table_;
  std::deque<std::size_t> waiting_;
  std::list<Job> running_;
  std::vector<std::string> gpus_;  // [slot]: of the run there; empty if no run computes on GPUs
  std::vector<bool> free_;         // [slot]
  const Clock::time_point begin_ = Clock::now();
  std::int64_t at_start_ = 0;  // steps done before this process
};

}  // namespace

SweepResults run_sweep(const Sweep& sweep, const SweepOptions& options) {
  prepare_folder(sweep);
  return Runner(sweep, options).run();
}

}  // namespace hg
