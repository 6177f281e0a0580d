#include "dist/watchdog.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "dist/ranks_words.h"

namespace hg {
namespace {

using Json = nlohmann::json;
using Seconds = std::chrono::duration<double>;

/// How often a watchdog looks, and how long others' messages wait at most.
Seconds interval(const WatchdogOptions& options) {
  return Seconds(std::clamp(std::min(options.timeout, options.grace) / 10, 0.005, 0.1));
}

/// The ranks of the world that `event` waits for.
std::vector<int> awaited(const CommEvent& event) {
  return event.peer >= 0 ? std::vector{event.peer} : *event.members;
}

}  // namespace

std::string stall_sentence(const CommEvent& event, double seconds,
                           std::span<const RankAnswer> answers) {
  if (event.kind == CommKind::gpu_wait) {
    return fmt::format("rank {} has waited for its GPU for {:g} s, in {}", event.members->front(),
                       seconds, event.to_string());
  }
  std::vector<int> silent, missing;
  std::string details;
  for (const RankAnswer& answer : answers) {
    if (!answer.where) {
      silent.push_back(answer.rank);
    } else if (!answer.arrived) {
      missing.push_back(answer.rank);
    }
  }
  // Where the missing ones are; where all are, if nobody is missing.
  constexpr int kDetails = 8;
  int told = 0;
  for (const RankAnswer& answer : answers) {
    const bool tell = answer.where && (!answer.arrived || (silent.empty() && missing.empty()));
    if (tell && told++ < kDetails)
      details += fmt::format("; rank {} {}", answer.rank, *answer.where);
  }
  std::string text;
  if (!silent.empty()) {
    text = fmt::format(
        "{} {} not answer (ended, stopped or out of reach), and {} did not finish within {:g} s",
        ranks_words(silent), silent.size() == 1 ? "does" : "do", event.to_string(), seconds);
    if (!missing.empty()) text += fmt::format("; {} did not arrive either", ranks_words(missing));
  } else if (!missing.empty()) {
    text = fmt::format("{} did not arrive at {} within {:g} s", ranks_words(missing),
                       event.to_string(), seconds);
  } else {
    text = fmt::format("{} did not finish within {:g} s, though every rank has begun it",
                       event.to_string(), seconds);
  }
  return text + details;
}

Watchdog::Watchdog(Comm& world, WatchdogOptions options)
    : world_(world), options_(std::move(options)), channel_(world.side_channel()) {
  HG_CHECK(options_.timeout > 0 && options_.grace > 0,
           "the watchdog's time-out of {} s and grace of {} s are not both > 0", options_.timeout,
           options_.grace);
  thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Watchdog::fail(const std::string& sentence, int exit_code) {
  std::unique_lock lock(mutex_);
  failure_ = {.sentence = sentence, .exit_code = exit_code};
  changed_.notify_all();
  changed_.wait(lock, [&] { return ended_; });
}

bool Watchdog::stopping() const {
  const std::scoped_lock lock(mutex_);
  return stop_;
}

void Watchdog::tell(int rank, const std::string& text) {
  if (!channel_) return;
  try {
    channel_->send(rank, text);
  } catch (const Error&) {
    // Who cannot be reached does not answer, and that is what will be said of it.
  }
}

/// Until it is time to look again, or something happened on this rank.
void Watchdog::pause() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, interval(options_), [&] { return stop_ || failure_; });
}

void Watchdog::watch() {
  while (!stopping()) {
    handle_messages();
    std::optional<Failure> failure;
    {
      const std::scoped_lock lock(mutex_);
      failure = failure_;
    }
    if (failure) return end(*failure);
    if (told_) return end(*told_);
    const auto oldest = world_.record().oldest_pending();
    if (oldest && seconds_since(oldest->second.entered) > options_.timeout)
      investigate(oldest->first, oldest->second);
    pause();
  }
}

std::optional<SideChannel::Message> Watchdog::next_message() {
  try {
    return channel_ ? channel_->poll() : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;  // the collectives fail likewise, and tell
  }
}

void Watchdog::handle_messages() {
  while (const auto message = next_message()) {
    const Json words = Json::parse(message->text);
    if (words.contains("abort")) {
      if (!told_) {
        told_ = {.sentence = words["abort"].get<std::string>(),
                 .exit_code = words["exit_code"].get<int>(),
                 .from = message->from};
      }
      ++written_;  // it has, before it tells
    } else if (words.contains("written")) {
      ++written_;
    } else if (words.contains("where")) {
      const bool arrived = world_.record().begun(words["channel"].get<std::uint64_t>()) >=
                           words["sequence"].get<std::int64_t>();
      tell(message->from, Json{{"here", words["where"]},
                               {"arrived", arrived},
                               {"waits", world_.record().oldest_pending().has_value()},
                               {"words", world_.record().where()}}
                              .dump());
    } else if (words["here"].get<std::int64_t>() == question_) {
      answers_[message->from] = {.rank = message->from,
                                 .arrived = words["arrived"].get<bool>(),
                                 .where = words["words"].get<std::string>(),
                                 .waits = words["waits"].get<bool>()};
    }
  }
}

/// Waits until there is enough, for so long at most; false if this watchdog is to stop.
bool Watchdog::wait_for_others(double seconds, const std::function<bool()>& enough) {
  const Clock::time_point start = Clock::now();
  while (!stopping()) {
    handle_messages();
    if (enough() || seconds_since(start) > seconds) return true;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, interval(options_) / 4, [&] { return stop_; });
  }
  return false;
}

void Watchdog::investigate(std::int64_t id, const CommEvent& event) {
  const std::vector<int> ranks = awaited(event);
  const int self = world_.rank();
  answers_.clear();
  ++question_;
  for (const int rank : ranks) {
    if (rank == self) {
      answers_[rank] = {.rank = rank, .arrived = true, .where = world_.record().where()};
    } else {
      tell(rank,
           Json{{"where", question_}, {"channel", event.channel}, {"sequence", event.sequence}}
               .dump());
    }
  }
  const auto all_answered = [&] { return told_ || answers_.size() == ranks.size(); };
  if (!wait_for_others(options_.grace, all_answered)) return;
  if (told_ || !world_.record().pending(id)) return;

  // All who wait find out at about the same time; the first of them speaks.
  const bool another_speaks = std::ranges::any_of(
      answers_, [&](const auto& entry) { return entry.second.arrived && entry.first < self; });
  // Who has not come since it waits itself is not the cause: whoever it waits for is, which it will
  // find out and say.
  const bool all_wait =
      answers_.size() == ranks.size() && std::ranges::all_of(answers_, [](const auto& entry) {
        return entry.second.arrived || entry.second.waits;
      });
  const bool is_cause = event.kind == CommKind::gpu_wait;
  if (!is_cause && ((another_speaks && event.peer < 0) || all_wait)) {
    if (!wait_for_others(2 * options_.grace, [&] { return told_.has_value(); })) return;
    if (told_ || !world_.record().pending(id)) return;
  }
  std::vector<RankAnswer> answers;
  for (const int rank : ranks) {
    const auto found = answers_.find(rank);
    answers.push_back(found == answers_.end()
                          ? RankAnswer{.rank = rank, .arrived = false, .where = std::nullopt}
                          : found->second);
  }
  const std::string sentence = stall_sentence(event, options_.timeout, answers);
  if (options_.report) options_.report(sentence);
  const std::scoped_lock lock(mutex_);
  failure_ = {.sentence = sentence};
}

void Watchdog::end(const Failure& failure) {
  const std::string& sentence = failure.sentence;
  write_record(sentence);
  const bool told = told_.has_value();  // before others, who fail at the same time, tell, too
  if (told) {
    tell(told_->from, Json{{"written", true}}.dump());
  } else if (channel_) {
    const int others = world_.size() - 1;
    const std::string message = Json{{"abort", sentence}, {"exit_code", failure.exit_code}}.dump();
    for (int rank = 0; rank <= others; ++rank)
      if (rank != world_.rank()) tell(rank, message);
    wait_for_others(options_.grace, [&] { return written_ == others; });
  }
  // A stopped rank may wake up in the course of the end; nobody goes on with it.
  world_.interrupt(sentence);
  // Who told will abort; only if that fails this rank does.
  if (told) wait_for_others(2 * options_.grace, [] { return false; });
  if (options_.abort) {
    options_.abort(failure.exit_code);
  } else {
    world_.abort(sentence);
  }
  const std::scoped_lock lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

void Watchdog::write_record(const std::string& reason) {
  if (options_.records.empty()) return;
  try {
    std::filesystem::create_directories(options_.records);
    write_file(options_.records / fmt::format("flight_rank_{}.json", world_.rank()),
               world_.record().to_json(reason));
  } catch (const std::exception& e) {  // must not keep the job from ending
    if (options_.report) options_.report(e.what());
  }
}

}  // namespace hg
