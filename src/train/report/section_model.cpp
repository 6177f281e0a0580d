// What instruments saw inside the model: attention, gates, activations, experts.
#include <algorithm>
#include <cmath>
#include <set>

#include "train/report/run_numbers.h"
#include "train/report/sections.h"

namespace hg {
namespace {

constexpr std::size_t kLooks = 10;

/// A line for each run over its layers: of METRIC/layers.N the mean of the last ten looks.
PageChart layer_chart(const SectionInput& input, const std::string& metric, std::string title,
                      std::string y_label, double scale = 1) {
  PageChart chart{.title = std::move(title), .x_label = "layer", .y_label = std::move(y_label)};
  const std::string prefix = metric + "/layers.";
  for (std::size_t r = 0; r < input.runs.size(); ++r) {
    ChartLine line{.name = input.runs[r].name, .group = input.grouping.group_of[r]};
    for (const auto& [name, series] : input.runs[r].series) {
      if (!name.starts_with(prefix)) continue;
      const double layer = std::strtod(name.c_str() + prefix.size(), nullptr);
      line.points.add(layer, scale * mean_of_last(series, kLooks));
    }
    put_in_order(line.points);
    if (!line.points.empty()) chart.lines.push_back(std::move(line));
  }
  return chart;
}

void add_chart(ReportSection& section, PageChart chart) {
  if (!chart.lines.empty()) section.charts.push_back(std::move(chart));
}

/// The numbers of an array at layers[N].OBJECT.NAME of a look, a row for each layer that has it.
struct LayerRows {
  std::vector<std::string> names;  ///< of the layers
  std::vector<double> values;
  std::size_t columns = 0;
};

LayerRows rows_of(const nlohmann::json& look, const char* object, const char* name) {
  LayerRows rows;
  if (!look.is_object() || !look.contains("layers")) return rows;
  std::size_t layer = 0;
  for (const auto& of_layer : look["layers"]) {
    const std::size_t number = layer++;
    const nlohmann::json* values = nullptr;
    if (of_layer.contains(object) && of_layer[object].contains(name))
      values = &of_layer[object][name];
    if (values == nullptr || !values->is_array() || values->empty()) continue;
    if (rows.columns == 0) rows.columns = values->size();
    if (rows.columns != values->size()) continue;  // a layer of another shape has no row in the map
    rows.names.push_back(std::to_string(number));
    for (const auto& value : *values)
      rows.values.push_back(value.is_number() ? value.get<double>() : kNotKnown);
  }
  return rows;
}

/// A map for the representative of each family that has those rows.
void add_maps(const SectionInput& input, ReportSection& section, const char* object,
              const char* name, const char* title, const char* column, HeatMap::Scale scale) {
  for (const std::size_t r : representatives(input)) {
    LayerRows rows = rows_of(input.runs[r].look, object, name);
    if (rows.columns == 0) continue;
    section.maps.push_back({.title = fmt::format("{}: {}, step {}", input.runs[r].name, title,
                                                 input.runs[r].look.value("step", std::int64_t{0})),
                            .x_label = column,
                            .y_label = "layer",
                            .rows = rows.names.size(),
                            .columns = rows.columns,
                            .scale = scale,
                            .values = std::move(rows.values),
                            .row_names = std::move(rows.names)});
  }
}

/// The share of all scores in each of the bins of a look's histograms, all heads and layers
/// together; empty without any.
Series gate_histogram(const nlohmann::json& look) {
  std::vector<double> counts;
  if (look.is_object() && look.contains("layers")) {
    for (const auto& layer : look["layers"]) {
      if (!layer.contains("gate") || !layer["gate"].contains("histogram")) continue;
      for (const auto& head : layer["gate"]["histogram"]) {
        counts.resize(std::max(counts.size(), head.size()));
        for (std::size_t bin = 0; bin < head.size(); ++bin)
          counts[bin] += head[bin].is_number() ? head[bin].get<double>() : 0;
      }
    }
  }
  double all = 0;
  for (const double count : counts) all += count;
  Series shares;
  for (std::size_t bin = 0; bin < counts.size() && all > 0; ++bin) {
    const double middle = (static_cast<double>(bin) + 0.5) / static_cast<double>(counts.size());
    shares.add(middle, counts[bin] > 0 ? 100 * counts[bin] / all : kNotKnown);
  }
  return shares;
}

/// Tokens that open and close the gates of a run's first gated layer most.
void add_tokens(const ReportRun& run, Table& table) {
  if (!run.look.is_object() || !run.look.contains("layers")) return;
  std::size_t layer = 0;
  for (const auto& of_layer : run.look["layers"]) {
    const std::size_t number = layer++;
    if (!of_layer.contains("gate")) continue;
    const auto list = [&](const char* name) {
      std::string text;
      if (!of_layer["gate"].contains(name)) return text;
      for (const auto& token : of_layer["gate"][name]) {
        text += fmt::format("{}“{}” {:.2f}", text.empty() ? "" : ", ",
                            token.value("text", std::string()), token.value("score", kNotKnown));
      }
      return text;
    };
    table.add_row({{run.name},
                   {std::to_string(number), static_cast<double>(number)},
                   {list("opened_by")},
                   {list("closed_by")}});
  }
}

bool has_gate_tokens(const Table& table) {
  return std::ranges::any_of(table.rows, [](const auto& row) { return !row[2].text.empty(); });
}

}  // namespace

ReportSection attention_section(const SectionInput& input) {
  ReportSection section{.id = "attention", .title = "Attention to the first token"};
  add_chart(section, layer_chart(input, metric::kFirstToken, "By layer",
                                 "attention to the first token (%)", 100));
  add_chart(section, metric_chart(input, metric::kFirstToken, "Over training",
                                  "attention to the first token (%)", 100));
  add_maps(input, section, "attention", "first_token", "attention to the first token", "head",
           HeatMap::Scale::share);
  if (section.charts.empty() && section.maps.empty()) {
    section.absent = "No run was looked into (metrics.instrument_interval).";
    return section;
  }
  for (PageChart& chart : section.charts) chart.y_min = 0;
  section.lead =
      "The share of attention that goes to the first token of a document, over all queries "
      "and heads. By layer: the mean of the last ten looks. Maps are of one run for each "
      "variant, that with the lowest loss.";
  return section;
}

ReportSection attention_map_section(const SectionInput& input) {
  ReportSection section{.id = "attention-maps", .title = "Attention maps"};
  for (const std::size_t r : representatives(input)) {
    const ReportRun& run = input.runs[r];
    if (!run.attention_maps.empty()) section.pictures.push_back({run.name, run.attention_maps});
  }
  if (section.pictures.empty()) {
    section.absent =
        "No run has an attention_maps.svg: make them with --attention-maps, or with "
        "headgate inspect-attention.";
  } else {
    section.lead =
        "What each token (rows) of a short text attends to (columns), averaged over heads, "
        "of one run for each variant: that with the lowest loss.";
  }
  return section;
}

ReportSection gate_section(const SectionInput& input) {
  ReportSection section{.id = "gate", .title = "Gate"};
  PageChart histogram{.title = "Scores, all layers",
                      .x_label = "gate score",
                      .y_label = "share of scores (%)",
                      .log_y = true};
  Table tokens{
      .id = "gate-tokens",
      .title = "Tokens that open and close the gates most",
      .columns = {{"run", "run", true},
                  {"layer", "layer"},
                  {"opened_by", "opened by", true},
                  {"closed_by", "closed by", true}},
      .note = "With the mean score over heads and elements; of the newest look with details."};
  for (const std::size_t r : representatives(input)) {
    Series shares = gate_histogram(input.runs[r].look);
    if (shares.empty()) continue;
    histogram.lines.push_back({.name = input.runs[r].name,
                               .group = input.grouping.group_of[r],
                               .points = std::move(shares)});
    add_tokens(input.runs[r], tokens);
  }
  add_chart(section, std::move(histogram));
  PageChart by_layer = layer_chart(input, metric::kGateMean, "By layer", "mean gate score");
  by_layer.y_min = 0;
  add_chart(section, std::move(by_layer));
  add_chart(section, metric_chart(input, metric::kGateMean, "Over training", "mean gate score"));
  add_chart(section,
            metric_chart(input, metric::kGateBelow01, "Nearly shut", "scores below 0.1 (%)", 100));
  add_maps(input, section, "gate", "mean_of_heads", "mean gate score", "head",
           HeatMap::Scale::unit);
  if (has_gate_tokens(tokens)) section.tables.push_back(std::move(tokens));
  if (section.charts.empty() && section.maps.empty()) {
    section.absent = "No run has a gate that was looked at.";
  } else {
    section.lead =
        "Scores of the attention gate: 1 is open, 0 is shut. The histogram, the maps and "
        "the tokens are of the newest look with details, of one run for each variant.";
  }
  return section;
}

ReportSection activation_section(const SectionInput& input) {
  ReportSection section{.id = "activations", .title = "Massive activations"};
  add_chart(section,
            layer_chart(input, metric::kMaxActivation, "Largest |h| by layer", "largest |h|"));
  add_chart(section, metric_chart(input, metric::kMAct, "M-Act over training",
                                  "mean over layers of the largest |h|"));
  add_chart(section, layer_chart(input, metric::kMaxLogit, "Largest attention logit by layer",
                                 "largest logit"));
  if (section.charts.empty()) {
    section.absent = "No run was looked into (metrics.instrument_interval).";
    return section;
  }
  for (PageChart& chart : section.charts) chart.log_y = true;
  section.lead =
      "h is the residual stream behind a block; by layer: the mean of the last ten looks.";
  return section;
}

ReportSection expert_section(const SectionInput& input) {
  ReportSection section{.id = "experts", .title = "Experts"};
  add_maps(input, section, "experts", "load", "load of each expert", "expert",
           HeatMap::Scale::load);
  add_chart(section,
            metric_chart(input, metric::kMaxLoad, "Busiest expert", "largest load over the mean"));
  add_chart(section, metric_chart(input, metric::kLoadEntropy, "Evenness", "load entropy"));
  add_chart(section,
            metric_chart(input, metric::kDeadExperts, "Dead experts", "dead experts, all layers"));
  if (section.charts.empty() && section.maps.empty()) {
    section.absent = "No run has experts that were looked at.";
  } else {
    section.lead =
        "How often experts are chosen, over the mean of their layer: 1 is even. Maps are "
        "of the newest look with details, of one run for each variant.";
  }
  return section;
}

}  // namespace hg
