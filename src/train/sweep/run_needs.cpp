#include "train/sweep/run_needs.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "core/gpu_module.h"
#include "train/layout.h"

namespace hg {
namespace {

bool ranks_are_known(const SweepConfig& config) {
  return config.ranks > 0 || config.launcher.empty();
}

std::int64_t ranks_of(const SweepConfig& config) { return std::max<std::int64_t>(config.ranks, 1); }

}  // namespace

RunNeeds needs_of(const Sweep& sweep) {
  const SweepConfig& config = sweep.config;
  HG_CHECK(ranks_are_known(config),
           "{}: launcher is {}, but ranks is not set: how many processes a run has is not known",
           sweep.path, fmt::join(config.launcher, " "));
  RunNeeds needs{.ranks = ranks_of(config)};
  for (const SweepPoint& point : sweep.points) {
    if (point.config.training.device == Device::cuda) needs.gpus = needs.ranks;
  }
  return needs;
}

void check_layouts(const Sweep& sweep) {
  if (!ranks_are_known(sweep.config)) return;
  const std::int64_t ranks = ranks_of(sweep.config);
  for (const SweepPoint& point : sweep.points) {
    try {
      layout_of(point.config, static_cast<int>(ranks));
    } catch (const Error& error) {
      fail("{}: the run {} cannot have ranks = {}:\n{}", sweep.path, point.name, ranks,
           error.what());
    }
  }
}

std::vector<std::string> launcher_words(const SweepConfig& config) {
  const std::int64_t ranks = ranks_of(config);
  if (!config.launcher.empty() || ranks == 1) return config.launcher;
  // By itself mpirun binds ranks to cores: those of every run to the same ones.
  std::vector<std::string> words = {"mpirun", "--bind-to", "none", "-n", std::to_string(ranks)};
  if (::geteuid() == 0) words.emplace_back("--allow-run-as-root");  // in containers
  return words;
}

std::vector<std::string> visible_gpus() {
  std::vector<std::string> gpus;
  if (const char* given = std::getenv("CUDA_VISIBLE_DEVICES")) {
    std::string_view rest = given;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(','), rest.size());
      gpus.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return gpus;
  }
  const int count = load_gpu_module().count();
  for (int gpu = 0; gpu < count; ++gpu) gpus.push_back(std::to_string(gpu));
  return gpus;
}

std::vector<std::string> share_gpus(std::span<const std::string> gpus, std::int64_t each,
                                    std::int64_t jobs) {
  HG_CHECK(each * jobs <= std::ssize(gpus),
           "jobs is {}: as many runs at a time, each of {} rank{}, need {} GPUs, there are {}{}",
           jobs, each, each == 1 ? "" : "s", each * jobs, gpus.size(),
           gpus.empty() ? "" : fmt::format(" ({})", fmt::join(gpus, ",")));
  std::vector<std::string> shares;
  const auto size = static_cast<std::size_t>(each);
  for (std::size_t job = 0; job < static_cast<std::size_t>(jobs); ++job)
    shares.push_back(fmt::format("{}", fmt::join(gpus.subspan(job * size, size), ",")));
  return shares;
}

}  // namespace hg
