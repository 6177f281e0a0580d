// Reading TensorBoard event files: those of TensorBoardWriter, of PyTorch's SummaryWriter and of
// others that write scalars.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "train/report/run_record.h"

namespace hg {

/// Scalars by their tags. Values are f32 in these files.
struct EventScalars {
  std::map<std::string, Series, std::less<>> series;
  std::vector<std::string> remarks;
};

/// Whether a file is one by its name: "...tfevents...".
bool is_event_file(const std::filesystem::path& path);

/// Reads one file, or all of a folder in the order of their names, as TensorBoard does: a session
/// that starts at a step forgets what earlier ones have from there on. A record that ends with the
/// file, left by a crash, is named in `remarks`; a checksum that does not fit is an error.
EventScalars read_event_scalars(const std::filesystem::path& path);

/// A run from them. Its loss is the tag `loss_tag`, or the first of those that trainers use
/// (loss_metrics/global_avg_loss, loss, train/loss, "lm loss", ...), or the only tag; the names of
/// gradient norm, validation loss and learning rate are found likewise. Throws if there is no loss.
ReportRun read_event_run(const std::filesystem::path& path,
                         const std::optional<std::string>& loss_tag = {});

}  // namespace hg
