#include "train/checkpoint/same_run.h"

#include <array>

#include "core/file.h"
#include "core/log.h"
#include "train/checkpoint/manifest.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

bool begins_with_one_of(const std::string& key, std::span<const std::string_view> prefixes) {
  return std::ranges::any_of(prefixes, [&](std::string_view p) { return key.starts_with(p); });
}

constexpr std::array<std::string_view, 3> kFixed = {"model.", "training.seed", "training.seq_len"};
/// Keys that no loss depends on, and those that it depends on by rounding alone.
constexpr std::array<std::string_view, 12> kFree = {"name",
                                                    "data.",
                                                    "validation.",
                                                    "checkpoint.",
                                                    "metrics.",
                                                    "guard.",
                                                    "training.time_limit",
                                                    "training.replica_check_interval",
                                                    "training.recompute",
                                                    "training.threads",
                                                    "training.cuda_graphs",
                                                    "training.steps"};
constexpr std::array<std::string_view, 5> kRounding = {"parallelism.", "training.device",
                                                       "training.micro_batch_size",
                                                       "training.precision", "training.fp8"};

/// Returns whether the losses are of other data.
bool check_fingerprints(const RunConfig& config, const fs::path& checkpoint,
                        const Fingerprints& saved, const Fingerprints& now) {
  bool other = false;
  for (const auto& [key, before] : saved) {
    const auto found = now.find(key);
    if (found == now.end() || found->second == before) continue;
    HG_CHECK(config.checkpoint.allow_data_change || key == "data.validation",
             "{}: the content of {} has changed since: it was {}, now it is {}; "
             "checkpoint.allow_data_change allows it",
             (checkpoint / "state.json").string(), key, before, found->second);
    log_warn("the content of {} has changed since the checkpoint", key);
    other = other || key != "data.validation";
  }
  return other;
}

}  // namespace

Repeats check_same_run(const RunConfig& config, const fs::path& checkpoint,
                       const Fingerprints& saved, const Fingerprints& now,
                       const std::string& layout, const std::string& processor) {
  const fs::path path = checkpoint / "config.yaml";
  const auto before = parse_config<RunConfig>(read_file(path), path.string()).value;
  Repeats repeats =
      check_fingerprints(config, checkpoint, saved, now) ? Repeats::no : Repeats::bits;
  const bool decays = config.lr_scheduler.decay != ScheduleKind::constant;
  for (const auto& [key, was, is] : differences(before, config)) {
    HG_CHECK(!begins_with_one_of(key, kFixed),
             "{}: {} was {}, the config now says {}; a resumed run cannot change it", path.string(),
             key, was, is);
    log_info("{} was {} in the checkpoint, is now {}", key, was, is);
    if (begins_with_one_of(key, kRounding)) {
      repeats = std::max(repeats, Repeats::about);
    } else if (!begins_with_one_of(key, kFree) || (key == "training.steps" && decays)) {
      repeats = Repeats::no;
    }
  }
  const Manifest manifest = read_manifest(checkpoint);
  if (manifest.layout != layout || manifest.processor != processor)
    repeats = std::max(repeats, Repeats::about);
  return repeats;
}

}  // namespace hg
