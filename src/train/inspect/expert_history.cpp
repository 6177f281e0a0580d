#include "train/inspect/expert_history.h"

#include <limits>

#include "core/file.h"
#include "data/json_view.h"
#include "train/metrics/json_lines.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

RoutedLayer read_layer(std::int64_t number, const JsonView& experts) {
  RoutedLayer layer{.layer = number};
  for_each_number(layer.load, [&]<class T>(const char* name, T& value, auto...) {
    if constexpr (std::is_integral_v<T>) {
      value = experts[name].integer(0, kMaxExperts);
    } else {
      value = experts[name].number();
    }
  });
  const JsonView loads = experts["load"];
  const std::size_t count = loads.array_size();
  if (count == 0) loads.reject("an array with a load of each expert");
  for (std::size_t e = 0; e < count; ++e) {
    layer.experts.push_back(loads[e].number());
    if (layer.experts.back() < 0) loads[e].reject("a load, which is not below 0");
  }
  return layer;
}

/// A line of instruments.jsonl; of a dense model it has no layers of experts.
ExpertLook read_look(const JsonView& line) {
  ExpertLook look{.step = line["step"].integer(0, std::numeric_limits<std::int64_t>::max())};
  const JsonView layers = line["layers"];
  const std::size_t count = layers.array_size();
  for (std::size_t i = 0; i < count; ++i) {
    const JsonView experts = layers[i]["experts"];
    if (!experts.is_null())
      look.layers.push_back(read_layer(static_cast<std::int64_t>(i), experts));
  }
  return look;
}

/// Throws unless `next` has the layers that `look` has, at a later step.
void check_follows(const ExpertLook& look, const ExpertLook& next, const std::string& place) {
  HG_CHECK(look.step < next.step, "{}: step {} behind step {}", place, next.step, look.step);
  HG_CHECK(
      std::ranges::equal(look.layers, next.layers, {}, &RoutedLayer::layer, &RoutedLayer::layer),
      "{}: has {} layers of experts, the line before has {} or others", place, next.layers.size(),
      look.layers.size());
}

/// Throws unless all layers have `count` experts.
void check_experts(const ExpertLook& look, std::size_t count, const std::string& place) {
  for (const RoutedLayer& layer : look.layers) {
    HG_CHECK(layer.experts.size() == count, "{}: layer {} has {} experts, expected {} as before",
             place, layer.layer, layer.experts.size(), count);
  }
}

}  // namespace

ExpertHistory read_expert_history(const fs::path& run, std::optional<std::int64_t> step) {
  HG_CHECK(fs::is_directory(run), "{}: there is no such run folder", run.string());
  const std::string file = (run / "instruments.jsonl").string();
  HG_CHECK(fs::exists(file),
           "{}: there is no such file; a run adds to it every metrics.details_interval steps",
           file);
  ExpertHistory history;
  std::size_t experts = 0;
  const auto read = [&](const nlohmann::json& json, std::int64_t number) {
    const std::string place = fmt::format("{}:{}", file, number);
    ExpertLook look = read_look(JsonView(place, json));
    if (look.layers.empty()) return;
    if (experts == 0) experts = look.layers.front().experts.size();
    check_experts(look, experts, place);
    if (!history.looks.empty()) {
      ExpertLook& last = history.looks.back();
      check_follows(last, look, place);
      if (last.step != step) {
        for (RoutedLayer& layer : last.layers) layer.experts = {};
      }
    }
    history.looks.push_back(std::move(look));
  };
  history.unfinished = for_each_json_line(read_file(file), file, read);
  HG_CHECK(!history.looks.empty(), "{}: no look at layers of experts in it{}", file,
           history.unfinished ? ", only half a line" : "");
  history.shown = history.looks.size() - 1;
  if (!step) return history;
  const auto found = std::ranges::find(history.looks, *step, &ExpertLook::step);
  HG_CHECK(found != history.looks.end(), "{}: no look at step {}; there are steps {}", file, *step,
           list_steps(history.looks));
  history.shown = static_cast<std::size_t>(found - history.looks.begin());
  return history;
}

std::string list_steps(const std::vector<ExpertLook>& looks) {
  constexpr std::size_t kLeast = 3;  // steps that are worth an "every"
  std::string list;
  for (std::size_t begin = 0; begin < looks.size();) {
    std::size_t last = begin;
    const auto distance = [&](std::size_t i) { return looks[i + 1].step - looks[i].step; };
    while (last + 1 < looks.size() && distance(last) == distance(begin)) ++last;
    list += list.empty() ? "" : ", ";
    if (last - begin + 1 < kLeast) {
      list += fmt::format("{}", looks[begin++].step);
      continue;
    }
    list += fmt::format("{} to {} every {}", looks[begin].step, looks[last].step, distance(begin));
    begin = last + 1;
  }
  return list;
}

}  // namespace hg
