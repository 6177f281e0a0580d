// Runs a subcommand as one of the ranks that were started together.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "dist/connect.h"

namespace hg::tools {

struct WorldOptions {
  WorldFlags flags;
  double timeout = 600;  // seconds that a collective may be pending

  void add_to(CLI::App& app);
};

/// Finds the world, connects, and lets all ranks agree on `config`, the resolved one; then calls
/// fn(world). A rank that throws ends the others, too. `records` is the folder for what ranks wrote
/// down of a job that failed.
void run_in_world(const WorldOptions& options, const std::string& config,
                  const std::string& records, const std::function<void(Comm&)>& fn);

}  // namespace hg::tools
