// A sweep file: which runs there are, and when one of them is given up. docs/sweeps.md explains it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"

namespace hg {

/// So many numbers from one to another, evenly spaced on a logarithmic scale.
struct LogRangeConfig {
  double from = 0, to = 0;
  std::int64_t count = 0;

  void fields(auto&& f) {
    f("from", from, "first value", at_least(0.0));
    f("to", to, "last value", at_least(0.0));
    f("count", count, "how many, both ends included; 0: no range", at_least(0));
  }
  void validate(ConfigProblems& problems) const {
    const bool given = from != 0 || to != 0 || count != 0;
    if (given && (from <= 0 || to <= from || count < 2)) {
      problems.add("", "goes from {} to {} in {} values, expected 0 < from < to and at least two",
                   from, to, count);
    }
  }
};

/// One dimension of the grid: the values of a key, or bundles of keys that move together.
struct AxisConfig {
  ConfigNode key;
  std::string name = "variant";
  std::vector<ConfigNode> values;
  LogRangeConfig log_range;
  std::vector<double> times_best;
  ConfigNode variants;

  void fields(auto&& f) {
    f("key", key, "config key whose values follow");
    f("name", name, "what an axis of variants is called");
    f("values", values, "of the key");
    f("log_range", log_range, "of the key, rounded to three digits");
    f("times_best", times_best,
      "of optimizer.lr: multiples of the variant's best learning rate in best_of", positive);
    f("variants", variants, "named bundles: {NAME: {KEY: VALUE, ...}, ...}");
  }
  void validate(ConfigProblems& problems) const {
    const bool bundles = variants.kind != ConfigNode::Kind::null;
    const int given = (values.empty() ? 0 : 1) + (log_range.count == 0 ? 0 : 1) +
                      (times_best.empty() ? 0 : 1) + (bundles ? 1 : 0);
    if (given != 1) {
      problems.add("",
                   "is an axis with {}, expected one of values, log_range, times_best, variants",
                   given == 0 ? "no values" : "values given twice");
    } else if (key.text.empty() != bundles) {
      problems.add("key", "is '{}': an axis of variants has none, every other one has", key.text);
    } else if (!times_best.empty() && key.text != "optimizer.lr") {
      problems.add("times_best", "is of key '{}', but only optimizer.lr has a best value",
                   key.text);
    }
  }
};

/// When a run counts as diverged; see DivergenceRule.
struct DivergedConfig {
  std::int64_t window = 0;
  double above_initial = 0;
  bool early_stop = true;

  void fields(auto&& f) {
    f("window", window,
      "steps whose median training loss is compared; 0: a quarter of those behind warm-up, at "
      "least 20",
      at_least(0));
    f("above_initial", above_initial, "nats over the initial loss that are too much",
      at_least(0.0));
    f("early_stop", early_stop, "end a run once it has diverged");
  }
};

struct SweepConfig {
  std::string name;
  std::string base;
  std::string folder;
  std::int64_t jobs = 1;
  std::int64_t threads = 1;
  std::int64_t ranks = 0;
  std::vector<std::string> launcher;
  ConfigNode set;
  std::vector<AxisConfig> axes;
  std::vector<ConfigNode> exclude;
  std::string naming;
  std::string best_of;
  DivergedConfig diverged;

  void fields(auto&& f) {
    f("name", name, "of the sweep", required, not_empty);
    f("base", base, "config of all runs, relative to this file", required, not_empty);
    f("folder", folder, "where everything is written; empty: runs/sweeps/NAME");
    f("jobs", jobs, "runs at a time on this machine", at_least(1));
    f("threads", threads, "training.threads of each run; 0: one per core", at_least(0));
    f("ranks", ranks,
      "processes of each run, started by mpirun; on GPUs each has one of its own; 0: one, or what "
      "launcher starts",
      at_least(0), at_most(1e6));
    f("launcher", launcher, "words in front of each headgate train, in place of mpirun");
    f("set", set, "keys of all runs that differ from base");
    f("axes", axes, "the grid; the last axis moves fastest", required, not_empty);
    f("exclude", exclude, "points left out: [{AXIS: VALUE, ...}, ...], which all must match");
    f("naming", naming, "names of runs: \"{variant}-lr{lr}-seed{seed}\"; empty: made of the axes");
    f("best_of", best_of, "sweep.json of another sweep, for times_best");
    f("diverged", diverged, "when a run counts as diverged");
  }
  void validate(ConfigProblems& problems) const {
    if (jobs > 1 && threads == 0)
      problems.add("threads", "is 0, so that each of {} runs at a time would take all cores", jobs);
  }
};

}  // namespace hg
