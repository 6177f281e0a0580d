// headgate config: shows what a config file means, or every key there is.
#include <iostream>

#include "commands.h"
#include "core/check.h"
#include "config_options.h"

namespace hg::tools {

void add_config(CLI::App& app) {
  auto* command = app.add_subcommand("config", "Check a config file and show what it resolves to");
  const auto options = std::make_shared<ConfigOptions>();
  options->add_to(*command, false);
  const auto keys = std::make_shared<bool>(false);
  command->add_flag("--print")->description("Print every key with its value and its origin (the default)");
  command->add_flag("--keys", *keys, "List every key with its type, default and meaning");
  command->callback([options, keys] {
    if (*keys) {
      for (const auto& key : describe<RunConfig>()) {
        fmt::print("{:36} {:24} {:12} {}\n", key.path, key.type, key.default_value, key.help);
      }
      return;
    }
    HG_CHECK(!options->path.empty(), "headgate config: name a config file, or use --keys");
    const auto loaded = options->load();
    std::cout << to_yaml(loaded.value, loaded.origins);
  });
}

}  // namespace hg::tools
