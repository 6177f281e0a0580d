#include "train/run_folder.h"

#include <chrono>
#include <random>
#include <thread>

#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"
#include "dist/gather_rows.h"
#include "dist/gather_text.h"
#include "train/checkpoint/checkpoint_folder.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

/// Whether a run has written it, if only its first file.
bool is_run(const fs::path& folder) {
  for (const char* name : {"lock", "config.yaml", "checkpoints"})
    if (fs::exists(folder / name)) return true;
  return false;
}

/// A damaged checkpoint stays, under a name that no run continues from.
void set_aside(const fs::path& checkpoint) {
  const std::string name = "damaged-" + checkpoint.filename().string();
  fs::path to = checkpoint.parent_path() / name;
  for (int number = 2; fs::exists(to); ++number)
    to = checkpoint.parent_path() / fmt::format("{}-{}", name, number);
  std::error_code error;
  fs::rename(checkpoint, to, error);
  HG_CHECK(!error, "{}: cannot set it aside as {}: {}", checkpoint.string(), to.filename().string(),
           error.message());
}

/// Throws on all ranks if one does not see what rank 0 writes into the folder: then a checkpoint
/// would never be whole. Collective.
void check_shared(const fs::path& folder, Comm& host) {
  using namespace std::chrono_literals;
  constexpr auto kPatience = 5s;  // for file systems that show later what others write
  std::random_device device;
  const std::uint64_t own = (std::uint64_t{device()} << 32) | device();
  const std::uint64_t drawn = gather_rows<std::uint64_t>(host, {&own, 1}, "run folder").front();
  // A name that nobody has looked for, and that remove_unfinished knows.
  const fs::path file = folder / fmt::format("unfinished-shared-{:016x}", drawn);
  if (host.rank() == 0) write_file(file, "seen by all ranks?\n");
  host.barrier("run folder");
  std::string problem;
  std::error_code error;
  for (const auto start = Clock::now(); !fs::exists(file, error);) {
    if (Clock::now() - start > kPatience) {
      problem = fmt::format(
          "rank {}: {} does not show here what rank 0 has written there: it is another folder",
          host.rank(), fs::absolute(folder).string());
      break;
    }
    std::this_thread::sleep_for(50ms);
  }
  for (const std::string& text : gather_text(host, problem, "run folder"))
    if (problem.empty()) problem = text;
  if (host.rank() == 0) fs::remove(file, error);
  HG_CHECK(problem.empty(), "{}", problem);
}

}  // namespace

RunFolder::RunFolder(fs::path path, Comm* host) : path_(std::move(path)), host_(host) {
  if (host_ == nullptr || host_->rank() == 0) {
    std::error_code error;
    const bool taken = fs::exists(path_) && !(fs::is_directory(path_) && fs::is_empty(path_));
    HG_CHECK(!taken || is_run(path_),
             "{}: exists, and is not a run's folder; name another with --run", path_.string());
    fs::create_directories(checkpoints(), error);
    HG_CHECK(!error, "{}: cannot create the folder: {}", checkpoints().string(), error.message());
    lock_.emplace(path_);
    remove_unfinished(checkpoints());
  }
  if (host_ != nullptr) check_shared(checkpoints(), *host_);
}

std::optional<fs::path> RunFolder::find_start(Resume resume) const {
  std::vector<std::pair<fs::path, std::string>> skipped;
  const auto newest = newest_checkpoint(checkpoints(), Inspect::all, host_,
                                        [&](const fs::path& checkpoint, const std::string& why) {
                                          log_warn("passing over a damaged checkpoint: {}", why);
                                          skipped.emplace_back(checkpoint, why);
                                        });
  HG_CHECK(newest || skipped.empty(),
           "{}: all {} checkpoints are damaged, the newest: {}; move them "
           "away to begin anew",
           checkpoints().string(), skipped.size(), skipped.front().second);
  HG_CHECK(resume != Resume::must || newest,
           "{}: checkpoint.resume is 'must', and there is no checkpoint", checkpoints().string());
  HG_CHECK(
      resume != Resume::never || (!newest && !fs::exists(metrics())),
      "{}: the folder holds a run, {}, and checkpoint.resume is 'never'; name another with --run",
      path_.string(), newest ? newest->filename().string() : "before its first checkpoint");
  if (lock_) {
    for (const auto& [checkpoint, why] : skipped) set_aside(checkpoint);
  }
  return newest;
}

}  // namespace hg
