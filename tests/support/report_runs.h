// Small run folders for tests of reports: files as a run writes them, without training.
#pragma once

#include <cmath>
#include <filesystem>
#include <string>

#include "core/file.h"
#include "support/temp_folder.h"
#include "train/metrics/metrics.h"

namespace hg::test {

struct RunFiles {
  std::int64_t steps = 150;
  std::string gate = "none";
  int seed = 1;
  double offset = 0;       ///< of all losses
  std::int64_t spike = 0;  ///< at this step the loss is 2 higher; 0: none
  std::string more = {};   ///< further lines of the config
};

/// The loss at a step: falls from 3 to 2, with a ripple so that its deviation is not 0.
inline double falling_loss(std::int64_t step) {
  const auto s = static_cast<double>(step);
  return 2 + std::exp(-s / 40) + 0.01 * std::sin(s);
}

inline std::string config_text(const RunFiles& files) {
  return fmt::format(
      "name: small  # default\nmodel:\n  vocab_size: 257\n  attention:\n    gate:\n      position: "
      "{}\n"
      "training:\n  steps: {}\n  seed: {}\noptimizer:\n  lr: 0.003\n"
      "data:\n  train: data/t\n  validation: data/v\n  tokenizer: byte\n{}",
      files.gate, files.steps, files.seed, files.more);
}

/// Writes PARENT/NAME with metrics.jsonl (training, two validations), config.yaml and machine.json,
/// for a run that has done all of its steps.
inline std::filesystem::path write_run(const std::filesystem::path& parent, const std::string& name,
                                       const RunFiles& files = {}) {
  const std::filesystem::path folder = parent / name;
  std::filesystem::create_directories(folder);
  std::string rows;
  const auto add = [&](MetricRow row) { rows += json_line(row) + "\n"; };
  add({.kind = "val", .values = {{metric::kValidationLoss, 3.5}}});
  for (std::int64_t step = 1; step <= files.steps; ++step) {
    const double loss = falling_loss(step) + files.offset + (step == files.spike ? 2 : 0);
    add({.step = step,
         .tokens = 100 * step,
         .time = 1e9,
         .kind = "train",
         .values = {
             {metric::kLoss, loss}, {metric::kGradNorm, 0.5}, {metric::kTokensPerSecond, 1e3}}});
    if (step % 10 != 0) continue;
    MetricRow look{.step = step, .tokens = 100 * step, .kind = "instruments"};
    look.values = {{"attention/first_token", 0.25},
                   {"attention/first_token/layers.0", 0.2},
                   {"attention/first_token/layers.1", 0.3},
                   {"activation/m_act", 12}};
    if (files.gate != "none") look.values.push_back({"gate/mean", 0.4});
    add(look);
  }
  add({.step = files.steps,
       .tokens = 100 * files.steps,
       .kind = "val",
       .values = {{metric::kValidationLoss, 2.1 + files.offset}}});
  write_file(folder / "metrics.jsonl", rows);
  write_file(folder / "config.yaml", config_text(files));
  write_file(folder / "machine.json",
             R"({"headgate": {"revision": "abc"}, "cpu": {"threads": 2}})");
  return folder;
}

}  // namespace hg::test
