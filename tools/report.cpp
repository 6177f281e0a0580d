// headgate report: what changed between runs, as a page, or as tables.
#include <filesystem>
#include <string>

#include "commands.h"
#include "core/file.h"
#include "core/log.h"
#include "core/parallel.h"
#include "train/inspect/inspect_attention.h"
#include "train/report/page.h"

namespace hg::tools {
namespace {

struct ReportCommand {
  std::vector<std::string> paths;
  std::string html, format, title = "headgate report", baseline, loss_tag;
  bool draw_attention = false;
  std::string text = "Sparse gating mechanism mitigates attention sink.";  // of arXiv 2505.06708
};

std::string text_of(const Report& report, const std::string& format) {
  if (format == "csv") return report_csv(report);
  if (format == "json") return report_json(report);
  return report_markdown(report);
}

/// As headgate inspect-attention draws them, of the newest checkpoint.
std::string attention_maps(const ReportRun& run, const std::string& text) {
  const TrainedRun trained = open_trained_run(run.path);
  const auto layers = representative_layers(trained.config.model.num_hidden_layers);
  const auto tokens = trained.tokenizer->encode(text);
  return attention_svg(inspect_attention(trained, tokens, layers).maps, Panels::layers);
}

void report(const ReportCommand& command) {
  set_num_threads(hardware_threads());
  const auto given = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional(text);
  };
  const std::vector<std::filesystem::path> paths(command.paths.begin(), command.paths.end());
  const Report made =
      make_report(read_report_sources(paths, {.loss_tag = given(command.loss_tag)}),
                  {.title = command.title,
                   .baseline = given(command.baseline),
                   .attention_maps =
                       command.draw_attention
                           ? [&](const ReportRun& run) { return attention_maps(run, command.text); }
                           : std::function<std::string(const ReportRun&)>()});
  for (const auto& [what, reason] : made.problems) log_warn("left out: {}: {}", what, reason);
  if (!command.format.empty()) fmt::print("{}", text_of(made, command.format));
  if (!command.format.empty() && command.html.empty()) return;
  const std::string file = command.html.empty() ? "report.html" : command.html;
  write_file(file, html_page(made));
  if (!command.format.empty()) return;
  for (const std::string& finding : made.sections.front().findings) fmt::print("{}\n", finding);
  fmt::print("{} run{}: {}\n", made.runs.size(), made.runs.size() == 1 ? "" : "s", file);
}

}  // namespace

void add_report(CLI::App& app) {
  auto* command = app.add_subcommand("report", "What changed between runs: a page, or tables");
  const auto options = std::make_shared<ReportCommand>();
  command
      ->add_option("runs", options->paths,
                   "Run folders, folders of them, sweeps, tables step,loss, TensorBoard's files")
      ->required();
  command->add_option("--html", options->html, "The page; default without --format: report.html");
  command->add_option("--format", options->format, "Print tables: md, csv (of runs) or json")
      ->check(CLI::IsMember({"md", "csv", "json"}));
  command->add_option("--title", options->title, "Heading of the page")->capture_default_str();
  command->add_option("--baseline", options->baseline,
                      "Variant or run that others are compared with; default: one without a gate");
  command->add_option("--loss-tag", options->loss_tag,
                      "Tag of the loss in TensorBoard's files; default: what trainers call it");
  auto* maps = command->add_flag("--attention-maps", options->draw_attention,
                                 "Draw attention maps from the newest checkpoints; default: "
                                 "attention_maps.svg of run folders, where there is one");
  command->add_option("--text", options->text, "What attention maps are of")
      ->capture_default_str()
      ->needs(maps);
  command->callback([options] { report(*options); });
}

}  // namespace hg::tools
