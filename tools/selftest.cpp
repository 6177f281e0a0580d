// headgate selftest: gradients, kernels and layouts on this machine, against what they must be.
#include "train/selftest/selftest.h"
#include "commands.h"
#include "core/check.h"

namespace hg::tools {

void add_selftest(CLI::App& app) {
  auto* command = app.add_subcommand(
      "selftest",
      "Checks gradients, kernels and layouts on this machine; prints errors and their limits");
  command->callback([] {
    int results = 0, wrong = 0;
    const auto report = [&](const SelftestResult& result) {
      ++results;
      if (!result.ok()) ++wrong;
      fmt::print("{}\n", result.to_string());
      std::fflush(stdout);  // the next line may take a second
    };
    check_machine(report);
    check_gradients(report);
    check_layouts(report);
    fmt::print("{} checks, {} out of their limits\n", results, wrong);
    HG_CHECK(wrong == 0, "selftest: {} of {} checks are out of their limits", wrong, results);
  });
}

}  // namespace hg::tools
