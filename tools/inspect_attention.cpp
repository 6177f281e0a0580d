// headgate inspect-attention: what a trained model attends to in a text, as a picture and in
// numbers.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

#include "commands.h"
#include "core/file.h"
#include "train/inspect/inspect_attention.h"

namespace hg::tools {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct InspectAttentionOptions {
  std::string run, checkpoint, file;
  std::string text = "Sparse gating mechanism mitigates attention sink.";  // of arXiv 2505.06708
  std::string layers, heads = "average", output;
  bool json = false;
};

/// The numbers that `list` names, such as "0,2,5" or "all", of `count` layers or heads.
std::vector<std::int64_t> choose(const std::string& option, std::string_view list,
                                 std::int64_t count) {
  std::vector<std::int64_t> chosen;
  if (list == "all") {
    chosen.resize(static_cast<std::size_t>(count));
    std::iota(chosen.begin(), chosen.end(), 0);
    return chosen;
  }
  const char *at = list.data(), *end = at + list.size();
  do {
    if (!chosen.empty()) ++at;  // the comma
    std::int64_t number = 0;
    const auto [stop, error] = std::from_chars(at, end, number);
    HG_CHECK(error == std::errc() && (stop == end || *stop == ','),
             "{} {}: expected numbers separated by commas, or 'all'", option, list);
    HG_CHECK(0 <= number && number < count, "{} {}: found {}, the model has 0 to {}", option, list,
             number, count - 1);
    HG_CHECK(std::ranges::find(chosen, number) == chosen.end(), "{} {}: {} stands there twice",
             option, list, number);
    chosen.push_back(number);
    at = stop;
  } while (at != end);
  return chosen;
}

void print_row(const std::string& name, const AttentionNumbers& numbers, bool gated) {
  fmt::print("{:<16} {:>11.1f} % {:>12.3f} {:>14.3f}", name, 100 * numbers.first_token,
             numbers.entropy, numbers.max_logit);
  if (gated)
    fmt::print(" {:>14}", numbers.gate ? fmt::format("{:.3f}", *numbers.gate) : std::string("-"));
  fmt::print("\n");
}

void print_table(const std::vector<LayerAttention>& layers, std::span<const std::int64_t> heads) {
  const bool gated = layers.front().all.gate.has_value();
  fmt::print("{:<16} {:>13} {:>12} {:>14}{}\n", "", "first token", "entropy", "largest logit",
             gated ? fmt::format(" {:>14}", "gate score") : "");
  for (const LayerAttention& layer : layers) {
    print_row(fmt::format("layer {}", layer.layer), layer.all, gated);
    for (const std::int64_t head : heads) {
      print_row(fmt::format("  head {}", head), layer.heads[static_cast<std::size_t>(head)], gated);
    }
  }
}

Json json_of(const AttentionNumbers& numbers) {
  Json json = {{"first_token", numbers.first_token},
               {"entropy", numbers.entropy},
               {"max_logit", numbers.max_logit}};
  if (numbers.gate) json["gate"] = *numbers.gate;
  return json;
}

Json json_report(const TrainedRun& run, const std::string& text,
                 std::span<const std::int32_t> tokens, const AttentionInspection& seen) {
  Json report = {{"checkpoint", run.checkpoint.string()}, {"text", text}};
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    report["tokens"].push_back({{"id", tokens[i]}, {"text", seen.maps.labels[i]}});
  }
  for (const LayerAttention& layer : seen.layers) {
    Json row = {{"layer", layer.layer}};
    row.update(json_of(layer.all));
    for (const AttentionNumbers& head : layer.heads) row["heads"].push_back(json_of(head));
    report["layers"].push_back(std::move(row));
  }
  return report;
}

void inspect(const InspectAttentionOptions& options) {
  const TrainedRun run = open_trained_run(options.run, options.checkpoint);
  const ModelConfig& model = run.config.model;
  const auto layers = options.layers.empty()
                          ? representative_layers(model.num_hidden_layers)
                          : choose("--layers", options.layers, model.num_hidden_layers);
  std::vector<std::int64_t> heads;  // none: their average
  if (options.heads != "average")
    heads = choose("--heads", options.heads, model.num_attention_heads);
  const std::string text = options.file.empty() ? options.text : read_file(options.file);
  const auto tokens = run.tokenizer->encode(text);
  const AttentionInspection seen = inspect_attention(run, tokens, layers);

  fs::path picture = options.output;
  if (picture.empty() && !options.json) picture = fs::path(options.run) / "attention_maps.svg";
  if (!picture.empty()) {
    write_file(picture, heads.empty()
                            ? attention_svg(seen.maps, Panels::layers)
                            : attention_svg(select_heads(seen.maps, heads), Panels::heads));
  }
  if (options.json) {
    // A token may be half a character, which JSON cannot hold.
    fmt::print(
        "{}\n",
        json_report(run, text, tokens, seen).dump(2, ' ', false, Json::error_handler_t::replace));
    return;
  }
  fmt::print("{}: {} tokens\n", run.checkpoint.string(), tokens.size());
  print_table(seen.layers, heads);
  fmt::print("maps: {}\n", picture.string());
}

}  // namespace

void add_inspect_attention(CLI::App& app) {
  auto* command = app.add_subcommand("inspect-attention",
                                     "What a trained model attends to in a text: maps and numbers");
  const auto options = std::make_shared<InspectAttentionOptions>();
  command->add_option("--run", options->run, "Run folder with a checkpoint")->required();
  command->add_option("--checkpoint", options->checkpoint,
                      "Folder of a checkpoint, or its name in the run; default: the newest");
  auto* text =
      command->add_option("--text", options->text, "Text to look at")->capture_default_str();
  command->add_option("--file", options->file, "File that holds the text")->excludes(text);
  command->add_option("--layers", options->layers,
                      "0,2,5 or all; default: first, a quarter, three quarters, last");
  command
      ->add_option("--heads", options->heads,
                   "average: one panel per layer; 0,3 or all: one per head")
      ->capture_default_str();
  command->add_option("--output", options->output,
                      "SVG file; default: RUN/attention_maps.svg, with --json none");
  command->add_flag("--json", options->json, "Print the numbers of all heads as JSON");
  command->callback([options] { inspect(*options); });
}

}  // namespace hg::tools
