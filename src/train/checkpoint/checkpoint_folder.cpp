#include "train/checkpoint/checkpoint_folder.h"

#include <algorithm>
#include <charconv>
#include <future>

#include "core/check.h"
#include "core/file.h"
#include "core/log.h"
#include "dist/gather_rows.h"
#include "dist/gather_text.h"
#include "train/checkpoint/get_together.h"

namespace hg {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kUnfinished = "unfinished-";

/// Steps of list_checkpoints as rank 0 sees them: the newest so many, -1 behind the last.
std::vector<std::int64_t> candidates(const fs::path& folder, Comm* host) {
  constexpr std::size_t kMost = 64;
  std::vector<std::int64_t> steps;
  for (const fs::path& path : list_checkpoints(folder)) steps.push_back(step_of_checkpoint(path));
  if (host == nullptr) return steps;
  steps.resize(kMost, -1);
  steps = gather_rows<std::int64_t>(*host, steps, "checkpoints");
  steps.resize(kMost);
  std::erase(steps, -1);
  return steps;
}

/// Why this rank's share of the checkpoint is damaged; empty if it is not.
std::string damage(const fs::path& checkpoint, Inspect depth, int share, int shares) {
  try {
    const Manifest manifest = inspect_checkpoint(checkpoint, depth, share, shares);
    if (manifest.step == step_of_checkpoint(checkpoint)) return "";
    return fmt::format("{}: the manifest is of step {}", checkpoint.string(), manifest.step);
  } catch (const DamagedCheckpoint& e) {
    return e.what();
  }
}

}  // namespace

std::string checkpoint_name(std::int64_t step) { return fmt::format("{}{:08}", kPrefix, step); }

std::int64_t step_of_checkpoint(const fs::path& checkpoint) {
  const std::string name = checkpoint.filename().string();
  std::int64_t step = -1;
  if (name.starts_with(kPrefix)) {
    const char* end = name.data() + name.size();
    const auto result = std::from_chars(name.data() + kPrefix.size(), end, step);
    if (result.ec != std::errc() || result.ptr != end) step = -1;
  }
  return step;
}

std::vector<fs::path> list_checkpoints(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  const fs::directory_iterator entries(folder, error);
  const bool none =
      error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
  // A run that took what cannot be read for nothing would begin anew.
  HG_CHECK(!error || none, "{}: cannot list the folder: {}", folder.string(), error.message());
  for (const auto& entry : entries) {
    if (step_of_checkpoint(entry.path()) >= 0) found.push_back(entry.path());
  }
  std::ranges::sort(found, std::ranges::greater(), step_of_checkpoint);
  return found;
}

std::optional<fs::path> newest_checkpoint(
    const fs::path& folder, Inspect depth, Comm* host,
    const std::function<void(const fs::path&, const std::string&)>& skipped) {
  const int share = host == nullptr ? 0 : host->rank(), shares = host == nullptr ? 1 : host->size();
  for (const std::int64_t step : candidates(folder, host)) {
    const fs::path path = folder / checkpoint_name(step);
    auto reading = std::async(std::launch::async, damage, path, depth, share, shares);
    std::string why = *get_together(host, reading, "reading checkpoints");
    if (host != nullptr) {
      const auto all = gather_text(*host, why, "damaged checkpoints");
      const auto first = std::ranges::find_if(all, [](const auto& text) { return !text.empty(); });
      why = first == all.end() ? "" : *first;
    }
    if (why.empty()) return path;
    if (skipped) {
      skipped(path, why);
    } else {
      log_warn("passing over a damaged checkpoint: {}", why);
    }
  }
  return std::nullopt;
}

void remove_unfinished(const fs::path& folder) {
  std::error_code ignored;
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename().string().starts_with(kUnfinished)) left.push_back(entry.path());
  }
  for (const fs::path& path : left) fs::remove_all(path, ignored);
}

void set_latest(const fs::path& checkpoint) {
  const fs::path folder = checkpoint.parent_path(), link = folder / "latest";
  const fs::path temporary = folder / "unfinished-latest";
  std::error_code error;
  fs::remove(temporary, error);
  fs::create_directory_symlink(checkpoint.filename(), temporary, error);
  if (!error) fs::rename(temporary, link, error);
  if (error)
    log_warn("{}: cannot point it at {}: {}", link.string(), checkpoint.filename().string(),
             error.message());
}

bool remove_checkpoint(const fs::path& checkpoint) {
  // Under another name first, so that a crash in between leaves no half of a checkpoint.
  const fs::path going =
      checkpoint.parent_path() / fmt::format("{}{}", kUnfinished, checkpoint.filename().string());
  std::error_code error;
  fs::rename(checkpoint, going, error);
  const bool gone = !error;
  if (gone) fs::remove_all(going, error);
  if (error)
    log_warn("{}: cannot remove it: {}", (gone ? going : checkpoint).string(), error.message());
  return gone;
}

void remove_old(const fs::path& folder, std::int64_t keep, std::int64_t keep_every) {
  std::int64_t newer = 0;
  for (const fs::path& path : list_checkpoints(folder)) {
    if (newer++ < keep) continue;
    if (keep_every > 0 && step_of_checkpoint(path) % keep_every == 0) continue;
    remove_checkpoint(path);
  }
}

}  // namespace hg
