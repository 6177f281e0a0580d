#include "dist/flight_record.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/random.h"

namespace hg {
namespace {

double since_1970(Clock::time_point time) {
  const auto wall =
      std::chrono::system_clock::now() +
      std::chrono::duration_cast<std::chrono::system_clock::duration>(time - Clock::now());
  return std::chrono::duration<double>(wall.time_since_epoch()).count();
}

nlohmann::ordered_json json_of(const CommEvent& event, bool pending) {
  nlohmann::ordered_json row = {{"kind", name_of(event.kind)},
                                {"group", event.group},
                                {"sequence", event.sequence},
                                {"label", event.label},
                                {"elements", event.elements},
                                {"dtype", name_of(event.dtype)},
                                {"state", pending          ? "pending"
                                          : event.finished ? "finished"
                                                           : "failed"},
                                {"entered", since_1970(event.entered)}};
  if (event.peer >= 0) row["peer"] = event.peer;
  if (!pending) row["left"] = since_1970(event.left);
  return row;
}

}  // namespace

std::string_view name_of(CommKind kind) {
  constexpr std::array<std::string_view, kCommKinds> kNames = {
      "all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast",
      "send",       "receive",        "barrier",    "split",      "gpu_wait"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string CommEvent::to_string() const {
  std::string text = fmt::format("{} #{} ", name_of(kind), sequence);
  if (peer >= 0) text += fmt::format("{} rank {} ", kind == CommKind::send ? "to" : "from", peer);
  text += "of " + group;
  return label.empty() ? text : fmt::format("{} ({})", text, label);
}

std::uint64_t channel_of(std::string_view group, const std::vector<int>& members, int from,
                         int to) {
  return hash_name(fmt::format("{} {} {} {}", group, fmt::join(members, ","), from, to));
}

std::int64_t FlightRecord::enter(CommEvent event) {
  event.entered = Clock::now();
  const std::scoped_lock lock(mutex_);
  event.sequence = ++begun_[event.channel];
  pending_.emplace(++next_id_, std::move(event));
  return next_id_;
}

void FlightRecord::leave(std::int64_t id, bool finished) {
  const std::scoped_lock lock(mutex_);
  auto call = pending_.extract(id);
  call.mapped().left = Clock::now();
  call.mapped().finished = finished;
  if (ended_.size() == kKept) ended_.pop_front();
  ended_.push_back(std::move(call.mapped()));
}

std::int64_t FlightRecord::begun(std::uint64_t channel) const {
  const std::scoped_lock lock(mutex_);
  const auto found = begun_.find(channel);
  return found == begun_.end() ? 0 : found->second;
}

bool FlightRecord::pending(std::int64_t id) const {
  const std::scoped_lock lock(mutex_);
  return pending_.contains(id);
}

std::optional<std::pair<std::int64_t, CommEvent>> FlightRecord::oldest_pending() const {
  const std::scoped_lock lock(mutex_);
  if (pending_.empty()) return std::nullopt;
  return *pending_.begin();
}

std::optional<CommEvent> FlightRecord::last() const {
  const std::scoped_lock lock(mutex_);
  if (ended_.empty()) return std::nullopt;
  return ended_.back();
}

std::vector<CommEvent> FlightRecord::events() const {
  const std::scoped_lock lock(mutex_);
  std::vector<CommEvent> all(ended_.begin(), ended_.end());
  for (const auto& [id, event] : pending_) all.push_back(event);
  return all;
}

std::string FlightRecord::where() const {
  const std::scoped_lock lock(mutex_);
  if (!pending_.empty()) {
    const CommEvent& event = pending_.begin()->second;
    return fmt::format("is in {} for {:.1f} s", event.to_string(), seconds_since(event.entered));
  }
  if (ended_.empty()) return "is in no collective and was in none before";
  const CommEvent& event = ended_.back();
  return fmt::format("is in no collective and left {} {:.1f} s ago", event.to_string(),
                     seconds_since(event.left));
}

std::string FlightRecord::to_json(std::string_view reason) const {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  const std::scoped_lock lock(mutex_);
  for (const CommEvent& event : ended_) rows.push_back(json_of(event, false));
  for (const auto& [id, event] : pending_) rows.push_back(json_of(event, true));
  const nlohmann::ordered_json all = {
      {"rank", rank_}, {"reason", reason}, {"time", since_1970(Clock::now())}, {"events", rows}};
  return all.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace hg
