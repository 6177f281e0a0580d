#include "world.h"

#include <xxhash.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "build_info.h"
#include "core/log.h"
#include "core/parallel.h"
#include "dist/watchdog.h"

namespace hg::tools {
namespace {

/// Ranks of one machine share its cores, unless the launcher has bound them to some already.
void share_cores(int ranks) {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  set_num_threads(std::min(num_threads(), std::max(1, cores / ranks)));
}

}  // namespace

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

void run_in_world(const WorldOptions& options, const std::string& config,
                  const std::string& records, const std::function<void(Comm&)>& fn) {
  const World found = find_world(std::getenv, options.flags);
  const auto world = connect(found);
  if (found.size == 1) return fn(*world);
  log_as_rank(found.rank);
  log_info("{}", found.sentence());
  if (found.local_size > 1) share_cores(found.local_size);
  Watchdog watchdog(*world, {.timeout = options.timeout,
                             .grace = std::min(10.0, std::max(1.0, options.timeout / 4)),
                             .records = records,
                             .report = [](const std::string& sentence) { log_error(sentence); }});
  try {
    agree(*world, {.size = found.size,
                   .build = fmt::format("{} {}", build::kVersion, build::kRevision),
                   .config = fmt::format("{:016x}", XXH3_64bits(config.data(), config.size()))});
    fn(*world);
  } catch (const CommAborted&) {
    throw;  // a consequence: the rank that is the cause says so
  } catch (const std::exception& e) {
    log_error(e.what());
    watchdog.fail(fmt::format("rank {}: {}", found.rank, e.what()));
    throw;
  }
}

}  // namespace hg::tools
