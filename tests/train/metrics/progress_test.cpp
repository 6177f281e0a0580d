#include "train/metrics/progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include "core/check.h"
#include "core/file.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

ProgressState half_way() {
  return {.what = "tokenize",
          .unit = "bytes",
          .total = 3'000'000'000,
          .start = 0,
          .done = 1'260'000'000,
          .seconds = 24};
}

/// A pseudo terminal of 80 columns: `out` is what a program would print on.
struct Terminal {
  FileDescriptor screen{::posix_openpt(O_RDWR | O_NOCTTY)};
  std::FILE* out = nullptr;

  Terminal() {
    HG_CHECK(screen && ::grantpt(screen.get()) == 0 && ::unlockpt(screen.get()) == 0,
             "no pseudo terminal");
    out = std::fopen(::ptsname(screen.get()), "w");
    const winsize size{.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
    HG_CHECK(out != nullptr && ::ioctl(screen.get(), TIOCSWINSZ, &size) == 0, "no pseudo terminal");
  }
  ~Terminal() { std::fclose(out); }

  /// What was printed until now.
  std::string text() {
    std::string result;
    std::array<char, 4096> piece;
    pollfd readable{.fd = screen.get(), .events = POLLIN, .revents = 0};
    while (::poll(&readable, 1, 0) == 1) {
      const ssize_t size = ::read(screen.get(), piece.data(), piece.size());
      if (size <= 0) break;
      result.append(piece.data(), static_cast<std::size_t>(size));
    }
    return result;
  }
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines(1);
  for (const char c : text) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  lines.pop_back();
  return lines;
}

TEST(ProgressLine, HasShareBarCountsRateAndTimeLeft) {
  EXPECT_EQ(progress_line(half_way(), 100),
            "tokenize  42% [########            ] 1.26G/3.00G bytes  52.5M/s  0:33 left");
}

TEST(ProgressLine, GivesUpTheBarThenTheEnd) {
  EXPECT_EQ(progress_line(half_way(), 60), "tokenize  42% 1.26G/3.00G bytes  52.5M/s  0:33 left");
  EXPECT_EQ(progress_line(half_way(), 20), "tokenize  42% 1.26G/");
}

TEST(ProgressLine, TheRateLeavesOutWhatWasDoneBefore) {
  ProgressState state = half_way();
  state.start = state.done - 24'000'000;
  EXPECT_EQ(progress_line(state, 100),
            "tokenize  42% [########            ] 1.26G/3.00G bytes  1.00M/s  29:00 left");
}

TEST(ProgressLine, StartEndAndUnknownTotal) {
  ProgressState state{
      .what = "train", .unit = "steps", .total = 200, .start = 0, .done = 0, .seconds = 0};
  EXPECT_EQ(progress_line(state, 80), "train   0% [                    ] 0/200 steps");
  state.done = 199;
  state.seconds = 4000;
  EXPECT_EQ(progress_line(state, 80),
            "train  99% [################### ] 199/200 steps  0.05/s  0:20 left");
  state.done = 200;
  EXPECT_EQ(progress_line(state, 80),
            "train 100% [####################] 200/200 steps  0.05/s  in 1:06:40");
  state.total = 0;
  state.seconds = 2;
  EXPECT_EQ(progress_line(state, 80), "train 200 steps  100/s");
}

TEST(Progress, AFileGetsALineAtEveryTenth) {
  const TempFolder folder;
  std::FILE* out = std::fopen((folder / "log").c_str(), "w");
  {
    Progress progress("work", "items", 1000, out);
    for (int i = 0; i < 1000; ++i) progress.advance(1);
    progress.message("a message");
  }
  std::fclose(out);
  const std::vector<std::string> lines = lines_of(read_file(folder / "log"));
  ASSERT_EQ(lines.size(), 11U);
  for (std::size_t i = 0; i < 9; ++i) {
    EXPECT_TRUE(lines[i].starts_with(fmt::format("work  {}0%", i + 1))) << lines[i];
  }
  EXPECT_EQ(lines[9], "a message");
  EXPECT_TRUE(lines[10].starts_with("work 100%")) << lines[10];
}

TEST(Progress, WithoutAStreamThereIsNothing) {
  Progress progress("work", "items", 10, nullptr);
  progress.advance(10);
  progress.message("nobody reads this");
}

TEST(Progress, ATerminalsLineMakesWayForMessages) {
  Terminal terminal;
  {
    Progress progress("work", "items", 10, terminal.out);
    progress.advance(1);
    const std::string drawn = terminal.text();
    EXPECT_TRUE(drawn.starts_with("\rwork  10% [##")) << drawn;
    EXPECT_TRUE(drawn.ends_with("\x1b[K")) << drawn;
    EXPECT_EQ(drawn.find('\n'), std::string::npos);
    progress.advance(1);
    terminal.text();
    progress.message("hello");
    const std::string after = terminal.text();
    EXPECT_TRUE(after.starts_with("\r\x1b[Khello\r\n\rwork  20% [####")) << after;
  }
  const std::string last = terminal.text();
  EXPECT_TRUE(last.starts_with("\r\x1b[Kwork  20%")) << last;
  EXPECT_TRUE(last.ends_with("\n")) << last;
}

TEST(Progress, ATerminalIsDrawnOnTenTimesASecondAtMost) {
  Terminal terminal;
  std::string text;
  const auto begin = std::chrono::steady_clock::now();
  Progress progress("work", "items", 0, terminal.out);
  for (int i = 0; i < 100'000; ++i) {
    progress.advance(1);
    if (i % 1000 == 0) text += terminal.text();
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  const auto draws = static_cast<double>(std::count(text.begin(), text.end(), '\r'));
  EXPECT_GE(draws, 1);
  EXPECT_LE(draws, 1 + seconds.count() * 10);
}

TEST(Progress, ThreadsLoseNoCountAndTearNoLine) {
  const TempFolder folder;
  std::FILE* out = std::fopen((folder / "log").c_str(), "w");
  {
    Progress progress("work", "items", 4000, out);
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) {
          progress.advance(1);
          if (i % 250 == 0) progress.message("message");
        }
      });
    }
  }
  std::fclose(out);
  const std::vector<std::string> lines = lines_of(read_file(folder / "log"));
  int messages = 0;
  for (const std::string& line : lines) {
    if (line == "message") {
      ++messages;
    } else {
      EXPECT_TRUE(line.starts_with("work ") && line.find(" items") != std::string::npos) << line;
    }
  }
  EXPECT_EQ(messages, 16);
  EXPECT_NE(lines.back().find("4.00k/4.00k items"), std::string::npos) << lines.back();
}

}  // namespace
}  // namespace hg::test
