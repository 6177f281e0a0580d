// How far a long piece of work is, on a stream that the caller chose.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace hg {

/// What a progress line tells.
struct ProgressState {
  std::string what, unit;  ///< "tokenize", "tokens"
  std::int64_t total;      ///< 0 if nobody knows
  std::int64_t start;      ///< done before this process began, as after a resume
  std::int64_t done;
  double seconds;  ///< since this process began
};

/// "tokenize   42% [########            ] 1.26G/3.00G bytes  52.1M/s  0:33 left": `width`
/// characters at most; the bar goes first when there is no room. Without a total: "tokenize 1.26G
/// bytes  52.1M/s".
std::string progress_line(const ProgressState& state, int width);

/// Columns of the terminal that a stream goes to; 80 if it does not say.
int terminal_width(std::FILE* out);

/// On a terminal a line that is redrawn ten times a second at most; elsewhere, as in a log file, a
/// line at every tenth of the work. All members may be called from any thread. Whoever writes to
/// the terminal meanwhile does so inside `interrupt`; for log lines, tools put a spdlog sink around
/// their own that logs there.
class Progress {
 public:
  /// Draws on `out`, usually stderr; nothing at all if it is nullptr.
  Progress(std::string what, std::string unit, std::int64_t total, std::FILE* out,
           std::int64_t start = 0);
  /// Leaves the last state in a line of its own.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(std::int64_t count);
  /// Calls `print` while the line is out of the way, and draws it again.
  void interrupt(const std::function<void()>& print);
  /// Prints a line of text on the same stream.
  void message(std::string_view text);

 private:
  using Clock = std::chrono::steady_clock;
  ProgressState state() const;
  void draw();   // under mutex_
  void clear();  // under mutex_

  const std::string what_, unit_;
  const std::int64_t total_, start_;
  std::FILE* const out_;
  const bool terminal_;
  const Clock::time_point begin_ = Clock::now();

  std::atomic<std::int64_t> done_;
  std::atomic<Clock::rep> next_draw_;    // on a terminal: clock ticks
  std::atomic<std::int64_t> next_line_;  // elsewhere: units done
  std::mutex mutex_;                     // the stream
  bool drawn_ = false;                   // the cursor stands behind our line
};

}  // namespace hg
