#include "world.h"

#include <xxhash.h>

#include <algorithm>
#include <cstdlib>

#include "build_info.h"
#include "core/log.h"
#include "core/parallel.h"
#include "dist/comm_mpi.h"
#include "dist/cpu_share.h"
#include "dist/watchdog.h"
#include "train/exit_code.h"

namespace hg::tools {

void WorldOptions::add_to(CLI::App& app) {
  app.add_option("--rank", flags.rank, "Rank of this process; default: what the launcher says");
  app.add_option("--world-size", flags.size, "Number of ranks");
  app.add_option("--local-rank", flags.local_rank, "Rank on this machine");
  app.add_option("--local-size", flags.local_size, "Ranks on this machine");
  app.add_option("--master", flags.master, "HOST or HOST:PORT of rank 0");
  app.add_option("--timeout", timeout, "Seconds that a collective may take")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

void share_cores(Comm& world) {
  if (world.size() > 1) set_num_threads(fair_threads(world));
}

void run_connected(const WorldOptions& options, const std::string& records,
                   const std::function<void(const World&, Comm&)>& fn) {
  const World found = find_world(std::getenv, options.flags);
  const auto world = connect(found);
  if (found.size == 1) return fn(found, *world);
  log_as_rank(found.rank);
  log_info("{}", found.sentence());
  Watchdog watchdog(*world, {.timeout = options.timeout,
                             .grace = std::min(10.0, std::max(1.0, options.timeout / 4)),
                             .records = records,
                             .report = [](const std::string& sentence) { log_error(sentence); },
                             .abort = [&](int exit_code) { abort_mpi(*world, exit_code); }});
  try {
    fn(found, *world);
  } catch (const CommAborted&) {
    throw;  // a consequence: the rank that is the cause says so
  } catch (const std::exception& e) {
    log_error(e.what());
    watchdog.fail(fmt::format("rank {}: {}", found.rank, e.what()), exit_code_of(e));
    throw;
  }
}

void run_in_world(const WorldOptions& options, const std::string& config,
                  const std::string& records, const std::function<void(const World&, Comm&)>& fn) {
  run_connected(options, records, [&](const World& found, Comm& world) {
    if (found.size > 1) {
      agree(world, {.size = found.size,
                    .build = fmt::format("{} {}", build::kVersion, build::kRevision),
                    .config = fmt::format("{:016x}", XXH3_64bits(config.data(), config.size()))});
    }
    share_cores(world);
    fn(found, world);
  });
}

}  // namespace hg::tools
