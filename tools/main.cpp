// headgate: one program, one file per subcommand.
#include "build_info.h"
#include "commands.h"
#include "core/log.h"
#include "train/exit_code.h"

int main(int argc, char** argv) {
  hg::init_logging();
  CLI::App app("Pretraining of transformers with gated attention", "headgate");
  app.set_version_flag("--version",
                       fmt::format("headgate {} ({})", hg::build::kVersion, hg::build::kRevision));
  app.require_subcommand(1);
  hg::tools::add_train(app);
  hg::tools::add_generate(app);
  hg::tools::add_inspect_attention(app);
  hg::tools::add_inspect_experts(app);
  hg::tools::add_probe(app);
  hg::tools::add_data(app);
  hg::tools::add_config(app);
  hg::tools::add_plan(app);
  hg::tools::add_bench(app);
  hg::tools::add_spikes(app);
  hg::tools::add_sweep(app);
  hg::tools::add_replay(app);
  hg::tools::add_report(app);
  hg::tools::add_doctor(app);
  hg::tools::add_selftest(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::RuntimeError& e) {
    return e.get_exit_code();  // of a subcommand that has said everything, such as doctor
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? hg::kDone : hg::kWrongCommand;
  } catch (const std::exception& e) {
    hg::log_error(e.what());
    return hg::exit_code_of(e);
  }
  return hg::kDone;
}
