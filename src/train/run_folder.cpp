#include "train/run_folder.h"

#include "core/log.h"
#include "dist/comm.h"
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
  if (host_ != nullptr) host_->barrier("run folder");
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
