#include "core/config_problems.h"

#include <algorithm>
#include <tuple>

namespace hg {
namespace {

bool is_override(const ConfigPlace& place) { return place.source.starts_with("--set "); }

}  // namespace

void ConfigProblems::add_at(const ConfigPlace& place, const std::string& path, std::string words) {
  problems_.push_back({place, path, std::move(words)});
}

bool ConfigProblems::none_under(std::string_view path) const {
  return std::ranges::none_of(problems_, [&](const Problem& problem) {
    if (!problem.path.starts_with(path)) return false;
    const std::string_view rest = std::string_view(problem.path).substr(path.size());
    return path.empty() || rest.empty() || rest[0] == '.' || rest[0] == '[';
  });
}

std::string ConfigProblems::text() const {
  std::vector<const Problem*> sorted;
  for (const Problem& problem : problems_) sorted.push_back(&problem);
  std::ranges::stable_sort(sorted, {}, [](const Problem* problem) {
    const ConfigPlace& place = problem->place;
    const bool last = is_override(place);
    return std::tuple(last, last ? std::string() : place.source, place.line, place.column);
  });

  std::string text;
  for (const Problem* problem : sorted) {
    if (!text.empty()) text += '\n';
    text += problem->place.text() + ": ";
    // An override names its key already.
    const bool named = problem->place.source.starts_with("--set " + problem->path + '=');
    if (!named && !problem->path.empty()) text += problem->path + ": ";
    text += problem->words;
  }
  return text;
}

void ConfigProblems::set_place(const std::string& path, const ConfigPlace& place) {
  // A list replaces the one given before: its items' places are of no more use.
  std::erase_if(places_, [&](const auto& entry) { return entry.first.starts_with(path + '['); });
  places_[path] = place;
}

const ConfigPlace* ConfigProblems::place_of(const std::string& path) const {
  const auto found = places_.find(path);
  return found == places_.end() ? nullptr : &found->second;
}

const ConfigPlace& ConfigProblems::place_near(std::string path) const {
  for (;;) {
    if (const ConfigPlace* place = place_of(path)) return *place;
    const std::size_t end = path.find_last_of(".[");
    path.resize(end == std::string::npos ? 0 : end);
  }
}

std::string ConfigProblems::join(std::string_view section, std::string_view key) {
  return fmt::format("{}{}{}", section, section.empty() || key.empty() ? "" : ".", key);
}

}  // namespace hg
