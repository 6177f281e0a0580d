// Tables of a report, and their text as Markdown, CSV, JSON and HTML.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hg {

/// Text that people read, and the number behind it, which JSON and CSV give in full.
struct TableCell {
  std::string text;
  std::optional<double> number = {};
};

/// Formats of numbers beside those of fmt: counts as 307.2k, 4.096M, 3.02T; hours as 0.44 s,
/// 12.3 min, 3.21 h.
inline constexpr char kCounts[] = "counts", kHours[] = "hours";

/// "-" if it is not finite; else as `format` says: one of the two, or of fmt, such as "{:.4f}".
TableCell number_cell(double value, std::string_view format);

struct Table {
  struct Column {
    std::string key;   ///< what programs call it: "validation_loss"
    std::string name;  ///< what people call it
    bool text = false;
  };

  std::string id, title;
  std::vector<Column> columns;
  std::vector<std::vector<TableCell>> rows = {};
  std::string note = {};  ///< what the columns mean
  /// Markings of rows for the page: a family's colour; empty or as long as rows.
  std::vector<int> families = {};

  void add_row(std::vector<TableCell> row);
};

std::string markdown(const Table& table);
/// RFC 4180, with keys as header; a number that is not known is an empty field.
std::string csv(const Table& table);
/// A list of rows, {key: number, text or null}.
nlohmann::ordered_json json(const Table& table);
std::string html(const Table& table);

/// Text for HTML, between tags and in attributes.
std::string escape_html(std::string_view text);

}  // namespace hg
