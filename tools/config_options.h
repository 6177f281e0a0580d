// The options that every subcommand with a config file takes.
#pragma once

#include <string>
#include <vector>

#include "commands.h"
#include "train/config.h"

namespace hg::tools {

struct ConfigOptions {
  std::string path;
  std::vector<std::string> overrides;

  void add_to(CLI::App& command, bool required) {
    auto* option = command.add_option("config", path, "YAML config file");
    if (required) option->required();
    command.add_option("--set", overrides, "Override a key: --set training.steps=20")
        ->type_name("KEY=VALUE")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  Loaded<RunConfig> load() const { return load_config<RunConfig>(path, overrides); }
};

}  // namespace hg::tools
