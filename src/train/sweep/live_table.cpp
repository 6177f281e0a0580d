#include "train/sweep/live_table.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace hg {

std::vector<std::string> live_lines(const std::vector<LiveRow>& rows, int width) {
  std::size_t longest = 0;
  for (const LiveRow& row : rows) longest = std::max(longest, row.name.size());
  std::vector<std::string> lines;
  for (const LiveRow& row : rows) {
    std::string line =
        fmt::format("  {:<{}}  {:>7}/{} steps", row.name, longest, row.step, row.steps);
    if (!std::isnan(row.loss)) line += fmt::format("  loss {:.4f}", row.loss);
    lines.push_back(line.substr(0, static_cast<std::size_t>(std::max(width, 0))));
  }
  return lines;
}

LiveTable::LiveTable(std::FILE* out)
    : out_(out), terminal_(out != nullptr && ::isatty(::fileno(out)) != 0) {}

LiveTable::~LiveTable() { clear(); }

void LiveTable::draw(const std::vector<LiveRow>& rows, const ProgressState& progress) {
  if (!terminal_) return;
  clear();
  const int width = terminal_width(out_) - 1;  // in the last column, some terminals wrap
  for (const std::string& line : live_lines(rows, width)) fmt::print(out_, "{}\n", line);
  fmt::print(out_, "{}\n", progress_line(progress, width));
  std::fflush(out_);
  drawn_ = rows.size() + 1;
}

void LiveTable::message(const std::string& text, const ProgressState& progress) {
  if (out_ == nullptr) return;
  clear();
  fmt::print(out_, "{}\n", text);
  if (!terminal_) fmt::print(out_, "{}\n", progress_line(progress, 120));
  std::fflush(out_);
}

void LiveTable::clear() {
  if (drawn_ > 0) fmt::print(out_, "\x1b[{}A\x1b[J", drawn_);
  drawn_ = 0;
}

}  // namespace hg
