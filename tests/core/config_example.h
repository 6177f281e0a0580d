// A small run's config, as the tests of the config layer see it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/config.h"

namespace hg {
namespace example {

enum class Decay { cosine, linear, wsd, off };

}  // namespace example

template <>
struct EnumNames<example::Decay> {
  using Decay = example::Decay;
  static constexpr std::pair<Decay, std::string_view> values[] = {{Decay::cosine, "cosine"},
                                                                  {Decay::linear, "linear"},
                                                                  {Decay::wsd, "wsd"},
                                                                  {Decay::off, "off"}};
};

namespace example {

struct OptimizerConfig {
  double lr = 3e-4;
  std::optional<double> min_lr;
  std::int64_t warmup_steps = 0;
  Decay decay = Decay::cosine;
  float eps = 1e-8F;
  std::vector<std::string> no_decay = {"norm", "a, b"};

  void fields(auto&& f) {
    f("lr", lr, "peak learning rate", positive);
    f("min_lr", min_lr, "where the decay ends", at_least(0));
    f("warmup_steps", warmup_steps, "steps of linear warm-up", at_least(0));
    f("decay", decay, "shape of the decay");
    f("eps", eps, "added to the denominator", positive, below(1));
    f("no_decay", no_decay, "parameters without weight decay");
  }
  void validate(ConfigProblems& problems) const {
    if (min_lr && *min_lr > lr) problems.add("min_lr", "is {}, but lr is {}", *min_lr, lr);
    if (decay == Decay::off && warmup_steps > 0) problems.add("", "warms up to no schedule");
  }
};

struct SourceConfig {
  std::filesystem::path path;
  double weight = 1;

  void fields(auto&& f) {
    f("path", path, "token file", required);
    f("weight", weight, "share of the tokens", positive);
  }
  void validate(ConfigProblems& problems) const {
    if (path == "/" && weight > 1) problems.add("weight", "is {} for the root", weight);
  }
};

struct DataConfig {
  std::vector<SourceConfig> sources;
  std::vector<std::int64_t> lengths;
  int head_dim = 64;
  std::uint64_t seed = 0;
  bool shuffle = true;

  void fields(auto&& f) {
    f("sources", sources, "what to train on");
    f("lengths", lengths, "sequence lengths", not_empty, multiple_of(8), at_most(4096));
    f("head_dim", head_dim, "features per head");
    f("seed", seed, "of the shuffle");
    f("shuffle", shuffle, "in a random order");
  }
};

struct RunConfig {
  std::string name;
  OptimizerConfig optimizer;
  DataConfig data;

  void fields(auto&& f) {
    f("name", name, "what the run is called", required, not_empty);
    f("optimizer", optimizer, "how weights change");
    f("data", data, "where tokens come from");
  }
};

}  // namespace example
}  // namespace hg
