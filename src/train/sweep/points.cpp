#include "train/sweep/points.h"

#include <map>
#include <numeric>

#include "core/file.h"
#include "train/sweep/exclude.h"
#include "train/sweep/run_needs.h"

namespace hg {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Choice = std::vector<const AxisValue*>;  // one value of each axis

/// "elementwise-lr0.003-seed1": bundles by their names, keys in front of their values.
std::string default_name(std::span<const SweepAxis> axes, const Choice& choice) {
  std::string name;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (!name.empty()) name += '-';
    if (axes[i].kind == SweepAxis::Kind::key) name += config::name_of(axes[i].name);
    if (axes[i].kind == SweepAxis::Kind::times_best) name += "lr-";
    name += choice[i]->label;
  }
  return name;
}

/// `naming` with each {axis} replaced by its label.
std::string fill_in(const std::string& naming, std::span<const SweepAxis> axes,
                    const Choice& choice) {
  std::string name;
  for (std::size_t at = 0; at < naming.size();) {
    const std::size_t open = std::min(naming.find('{', at), naming.size());
    name += naming.substr(at, open - at);
    if (open == naming.size()) break;
    const std::size_t close = naming.find('}', open);
    HG_CHECK(close != std::string::npos, "'{}' has a {{ without a }}", naming);
    const std::string inner = naming.substr(open + 1, close - open - 1);
    const std::size_t axis = find_axis(axes, inner);
    HG_CHECK(axis < axes.size(), "'{}' names {{{}}}, which is no axis", naming, inner);
    name += choice[axis]->label;
    at = close + 1;
  }
  HG_CHECK(label_of(name) == name && !name.starts_with('.'),
           "'{}' makes the name '{}', expected letters, digits, '.', '_', '+' and '-' alone",
           naming, name);
  return name;
}

std::string variant_of(std::span<const SweepAxis> axes, const Choice& choice) {
  std::string variant;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].within_variant()) continue;
    const bool key = axes[i].kind == SweepAxis::Kind::key;
    variant += fmt::format("{}{}{}", variant.empty() ? "" : "-",
                           key ? config::name_of(axes[i].name) : "", choice[i]->label);
  }
  return variant.empty() ? "base" : variant;
}

/// Best learning rates by variant, as another sweep found them.
class BestRates {
 public:
  explicit BestRates(const std::string& path) : path_(path) {
    if (path.empty()) return;
    const Json json = Json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
    HG_CHECK(json.is_object() && json.contains("variants") && json["variants"].is_array(),
             "{}: expected the sweep.json of a sweep", path);
    for (const Json& variant : json["variants"]) {
      if (variant.value("best_lr", Json()).is_number())
        rates_[variant.value("name", "")] = variant["best_lr"];
    }
  }
  double of(const std::string& variant) const {
    HG_CHECK(!path_.empty(), "times_best needs best_of, the sweep.json that has the best values");
    const auto found = rates_.find(variant);
    HG_CHECK(found != rates_.end(), "{}: has no best learning rate of the variant '{}'", path_,
             variant);
    return found->second;
  }

 private:
  std::string path_;
  std::map<std::string, double> rates_;
};

/// Calls f(choice) for every combination; the last axis moves fastest.
void for_each_choice(std::span<const SweepAxis> axes, auto&& f) {
  std::vector<std::size_t> at(axes.size(), 0);
  for (;;) {
    Choice choice;
    for (std::size_t i = 0; i < axes.size(); ++i) choice.push_back(&axes[i].values[at[i]]);
    f(choice);
    std::size_t i = axes.size();
    while (i > 0 && ++at[i - 1] == axes[i - 1].values.size()) at[--i] = 0;
    if (i == 0) return;
  }
}

SweepPoint compose(const Sweep& sweep, const Choice& choice, const BestRates& best) {
  const SweepConfig& config = sweep.config;
  SweepPoint point;
  point.variant = variant_of(sweep.axes, choice);
  point.name = config.naming.empty() ? default_name(sweep.axes, choice)
                                     : fill_in(config.naming, sweep.axes, choice);
  point.overrides.push_back(fmt::format("training.threads={}", config.threads));
  for (const Override& override : flatten(config.set)) point.overrides.push_back(override.text());
  for (std::size_t i = 0; i < choice.size(); ++i) {
    point.values[sweep.axes[i].name] = choice[i]->value;
    for (const Override& override : choice[i]->overrides)
      point.overrides.push_back(override.text());
    if (choice[i]->times_best == 0) continue;
    const double lr = choice[i]->times_best * best.of(point.variant);
    point.values["optimizer.lr"] = lr;
    point.overrides.push_back(fmt::format("optimizer.lr={}", lr));
  }
  point.overrides.push_back("name=" + config::quote(point.name));
  point.overrides.push_back("checkpoint.resume=auto");
  try {
    const auto loaded = load_config<RunConfig>(sweep.base, point.overrides);
    point.config = loaded.value;
    point.resolved = to_yaml(loaded.value, loaded.origins);
  } catch (const Error& error) {
    fail("{}: the run {} has no valid config:\n{}", sweep.path, point.name, error.what());
  }
  return point;
}

}  // namespace

Sweep load_sweep(const std::string& path) {
  Sweep sweep{.path = path, .config = {}, .base = {}, .folder = {}, .axes = {}, .points = {}};
  sweep.config = load_config<SweepConfig>(path).value;
  const SweepConfig& config = sweep.config;
  sweep.base = (fs::path(path).parent_path() / config.base).lexically_normal().string();
  sweep.folder =
      config.folder.empty() ? fs::path("runs/sweeps") / config.name : fs::path(config.folder);

  ConfigProblems problems(path);
  for (const Override& override : flatten(config.set)) check_override(override, problems);
  sweep.axes = make_axes(config.axes, problems);
  Exclusions exclusions(config.exclude, sweep.axes, problems);
  if (!problems.empty()) throw Error(problems.text());

  const BestRates best(config.best_of);
  std::map<std::string, std::size_t> names;
  for_each_choice(sweep.axes, [&](const Choice& choice) {
    if (exclusions.match(choice)) return;
    sweep.points.push_back(compose(sweep, choice, best));
    const SweepPoint& point = sweep.points.back();
    const auto [other, added] = names.try_emplace(point.name, sweep.points.size());
    HG_CHECK(added, "{}: runs {} and {} have the same name, '{}'", path, other->second,
             sweep.points.size(), point.name);
  });
  exclusions.check_used(problems);
  if (!problems.empty()) throw Error(problems.text());
  HG_CHECK(!sweep.points.empty(), "{}: exclude leaves no point of the sweep", path);
  check_layouts(sweep);
  return sweep;
}

std::string warning_about(const Sweep& sweep) {
  const auto without = std::ranges::count_if(
      sweep.points, [](const SweepPoint& point) { return point.config.data.validation.empty(); });
  if (without == 0) return "";
  return fmt::format(
      "{}: {} of {} runs have no data.validation: best learning rates and LR sensitivity are of "
      "validation losses, and will not be known",
      sweep.path, without, sweep.points.size());
}

void check_folder(const Sweep& sweep) {
  std::map<fs::path, const SweepPoint*> points;
  for (const SweepPoint& point : sweep.points) points[sweep.config_file(point)] = &point;
  std::error_code ignored;  // no folder: nothing to compare with
  for (const auto& entry : fs::directory_iterator(sweep.folder / "configs", ignored)) {
    if (entry.path().extension() != ".yaml") continue;
    const auto found = points.find(entry.path());
    HG_CHECK(found != points.end(),
             "{}: has a run {}, which {} has not: it is of another sweep; name another folder",
             sweep.folder.string(), entry.path().stem().string(), sweep.path);
    const auto there = parse_config<RunConfig>(read_file(entry.path()), entry.path().string());
    for (const auto& [key, before, now] : differences(there.value, found->second->config)) {
      fail("{}: {} was {}, {} now says {}: it is of another sweep; name another folder",
           entry.path().string(), key, before, sweep.path, now);
    }
  }
}

void prepare_folder(const Sweep& sweep) {
  check_folder(sweep);
  for (const char* name : {"configs", "runs", "logs", "results"}) {
    std::error_code error;
    fs::create_directories(sweep.folder / name, error);
    HG_CHECK(!error, "{}: cannot create the folder: {}", (sweep.folder / name).string(),
             error.message());
  }
  for (const SweepPoint& point : sweep.points) {
    if (!fs::exists(sweep.config_file(point))) write_file(sweep.config_file(point), point.resolved);
  }
}

}  // namespace hg
