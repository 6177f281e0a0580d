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

/// Finds the world and connects; then calls fn(found, world). A rank that throws ends the others,
/// too. `records` is the folder for what ranks wrote down of a job that failed; may be empty.
void run_connected(const WorldOptions& options, const std::string& records,
                   const std::function<void(const World&, Comm&)>& fn);

/// Takes this rank's part of its node's processors for the threads. Collective.
void share_cores(Comm& world);

/// run_connected, in which all ranks agree on `config`, the resolved one, and share processors
/// before fn(found, world).
void run_in_world(const WorldOptions& options, const std::string& config,
                  const std::string& records, const std::function<void(const World&, Comm&)>& fn);

}  // namespace hg::tools
