// The folder of a run's checkpoints: which there are, which are whole, and which may go.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "train/checkpoint/manifest.h"

namespace hg {

class Comm;

/// "step-00001234"
std::string checkpoint_name(std::int64_t step);

/// The step-* folders in `folder`, newest first, whole or not; none if it is missing. Throws if it
/// cannot be read.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& folder);

/// The step in a checkpoint's name.
std::int64_t step_of_checkpoint(const std::filesystem::path& checkpoint);

/// The newest that is undamaged, as far as `depth` tells (throws if that cannot be told); `skipped`
/// hears of those passed over: path and why. With `host` it is collective, ranks share the reading,
/// and all get the same.
std::optional<std::filesystem::path> newest_checkpoint(
    const std::filesystem::path& folder, Inspect depth = Inspect::weights, Comm* host = nullptr,
    const std::function<void(const std::filesystem::path&, const std::string&)>& skipped = {});

/// Removes what killed runs left half-written.
void remove_unfinished(const std::filesystem::path& folder);

/// Points FOLDER/latest, a symbolic link, at this checkpoint of the folder.
void set_latest(const std::filesystem::path& checkpoint);

/// Removes a checkpoint. Where the system does not let it, that is logged, and it stays under its
/// name or, with what is left of it, for remove_unfinished. Returns whether the name is free.
bool remove_checkpoint(const std::filesystem::path& checkpoint);

/// Removes all but the newest `keep`, and, if `keep_every` > 0, those of multiples of it.
void remove_old(const std::filesystem::path& folder, std::int64_t keep, std::int64_t keep_every);

}  // namespace hg
