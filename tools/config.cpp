// headgate config: shows what a config file means, or every key there is.
#include <iostream>

#include "commands.h"
#include "config_options.h"
#include "core/check.h"

namespace hg::tools {
namespace {

/// A Markdown table: docs/config.md is this.
void print_keys() {
  fmt::print(
      "# Config keys\n\nMade by `headgate config --keys`.\n\n| key | type | default | meaning "
      "|\n|---|---|---|---|\n");
  for (const auto& key : describe<RunConfig>()) {
    std::string type = key.type;
    for (std::size_t bar = 0; (bar = type.find(" | ", bar)) != std::string::npos;)
      type.replace(bar, 3, ", ");
    const std::string constraint = key.constraint.empty() ? "" : " (" + key.constraint + ")";
    fmt::print("| `{}` | {}{} | {} | {} |\n", key.path, type, constraint, key.default_value,
               key.help);
  }
}

}  // namespace

void add_config(CLI::App& app) {
  auto* command = app.add_subcommand("config", "Check a config file and show what it resolves to");
  const auto options = std::make_shared<ConfigOptions>();
  options->add_to(*command, false);
  const auto keys = std::make_shared<bool>(false);
  command->add_flag("--print")->description(
      "Print every key with its value and its origin (the default)");
  command->add_flag("--keys", *keys, "List every key with its type, default and meaning");
  command->callback([options, keys] {
    if (*keys) {
      print_keys();
      return;
    }
    HG_CHECK(!options->path.empty(), "headgate config: name a config file, or use --keys");
    const auto loaded = options->load();
    std::cout << to_yaml(loaded.value, loaded.origins);
  });
}

}  // namespace hg::tools
