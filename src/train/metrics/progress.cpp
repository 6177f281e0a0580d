#include "train/metrics/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

namespace hg {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr int kWidthOfAPipe = 120;

/// Three digits: "0.05", "999", "1.23k", "45.6M".
std::string with_prefix(double value) {
  std::string_view prefixes = " kMGTPE";
  for (; value >= 999.5 && prefixes.size() > 1; value /= 1000) prefixes.remove_prefix(1);
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f}{}", value, decimals, prefixes[0] == ' ' ? "" : prefixes.substr(0, 1));
}

/// A whole number, without the fraction that rates have.
std::string count(std::int64_t value) {
  return value < 1000 ? std::to_string(value) : with_prefix(static_cast<double>(value));
}

/// "0:33", "12:05", "3:00:00"
std::string duration(double seconds) {
  const auto s = static_cast<std::int64_t>(seconds + 0.5);
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

}  // namespace

int terminal_width(std::FILE* out) {
  winsize size{};
  if (::ioctl(::fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

std::string progress_line(const ProgressState& state, int width) {
  const double rate =
      state.seconds > 0 ? static_cast<double>(state.done - state.start) / state.seconds : 0;
  std::string head = state.what, tail = fmt::format("{} {}", count(state.done), state.unit);
  std::string bar;
  if (state.total > 0) {
    const double share =
        std::clamp(static_cast<double>(state.done) / static_cast<double>(state.total), 0.0, 1.0);
    head += fmt::format(" {:3d}%", static_cast<int>(share * 100));  // 100 only when done
    tail = fmt::format("{}/{} {}", count(state.done), count(state.total), state.unit);
    constexpr std::size_t kCells = 20;
    const auto full = static_cast<std::size_t>(share * kCells);
    bar = fmt::format(" [{}{}]", std::string(full, '#'), std::string(kCells - full, ' '));
  }
  if (rate > 0) tail += fmt::format("  {}/s", with_prefix(rate));
  if (state.total > 0 && state.done >= state.total) {
    tail += fmt::format("  in {}", duration(state.seconds));
  } else if (state.total > 0 && rate > 0) {
    tail +=
        fmt::format("  {} left", duration(static_cast<double>(state.total - state.done) / rate));
  }
  std::string line = fmt::format("{}{} {}", head, bar, tail);
  if (std::ssize(line) > width) line = fmt::format("{} {}", head, tail);
  return line.substr(0, static_cast<std::size_t>(std::max(width, 0)));
}

Progress::Progress(std::string what, std::string unit, std::int64_t total, std::FILE* out,
                   std::int64_t start)
    : what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      start_(start),
      out_(out),
      terminal_(out != nullptr && ::isatty(::fileno(out)) != 0),
      done_(start),
      next_draw_(begin_.time_since_epoch().count()),
      next_line_(start + std::max<std::int64_t>((total - start) / 10, 1)) {}

Progress::~Progress() {
  if (out_ == nullptr) return;
  const std::scoped_lock lock(mutex_);
  clear();
  fmt::print(out_, "{}\n",
             progress_line(state(), terminal_ ? terminal_width(out_) - 1 : kWidthOfAPipe));
  std::fflush(out_);
}

ProgressState Progress::state() const {
  return {.what = what_,
          .unit = unit_,
          .total = total_,
          .start = start_,
          .done = done_.load(),
          .seconds = std::chrono::duration<double>(Clock::now() - begin_).count()};
}

void Progress::advance(std::int64_t amount) {
  const std::int64_t done = done_.fetch_add(amount) + amount;
  if (out_ == nullptr) return;
  if (terminal_) {
    const auto now = Clock::now().time_since_epoch();
    Clock::rep due = next_draw_.load();
    const Clock::rep next = (now + std::chrono::duration_cast<Clock::duration>(kRedraw)).count();
    // Of several threads that find it due, the one that moves the mark draws.
    if (now.count() < due || !next_draw_.compare_exchange_strong(due, next)) return;
    const std::scoped_lock lock(mutex_);
    draw();
    return;
  }
  std::int64_t due = next_line_.load();
  const std::int64_t next = done + std::max<std::int64_t>((total_ - start_) / 10, 1);
  // The last line is the destructor's.
  if (total_ <= 0 || done < due || done >= total_) return;
  if (!next_line_.compare_exchange_strong(due, next)) return;
  const std::scoped_lock lock(mutex_);
  fmt::print(out_, "{}\n", progress_line(state(), kWidthOfAPipe));
  std::fflush(out_);
}

void Progress::interrupt(const std::function<void()>& print) {
  const std::scoped_lock lock(mutex_);
  const bool drawn = drawn_;
  clear();
  print();
  if (drawn) draw();
}

void Progress::message(std::string_view text) {
  if (out_ == nullptr) return;
  interrupt([&] {
    fmt::print(out_, "{}\n", text);
    std::fflush(out_);
  });
}

void Progress::draw() {
  // One column stays free: in the last, some terminals wrap.
  fmt::print(out_, "\r{}\x1b[K", progress_line(state(), terminal_width(out_) - 1));
  std::fflush(out_);
  drawn_ = true;
}

void Progress::clear() {
  if (!drawn_) return;
  fmt::print(out_, "\r\x1b[K");
  std::fflush(out_);
  drawn_ = false;
}

}  // namespace hg
