// The subcommands of the headgate program. Each adds itself to the command line; what it returns
// from its callback ends the program through exceptions only: main() turns those into exit codes.
#pragma once

#include <CLI/CLI.hpp>

namespace hg::tools {

void add_train(CLI::App& app);
void add_generate(CLI::App& app);
void add_data(CLI::App& app);
void add_config(CLI::App& app);
void add_plan(CLI::App& app);
void add_bench(CLI::App& app);
void add_spikes(CLI::App& app);
void add_sweep(CLI::App& app);
void add_replay(CLI::App& app);
void add_report(CLI::App& app);
void add_inspect_attention(CLI::App& app);
void add_inspect_experts(CLI::App& app);
void add_probe(CLI::App& app);
void add_doctor(CLI::App& app);
void add_selftest(CLI::App& app);

}  // namespace hg::tools
