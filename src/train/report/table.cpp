#include "train/report/table.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/check.h"

namespace hg {
namespace {

std::string escape_markdown(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|' || c == '\\' || c == '<' || c == '*' || c == '_' || c == '`') escaped += '\\';
    escaped += c == '\n' || c == '\r' ? ' ' : c;
  }
  return escaped;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

std::string csv_text(const Table::Column& column, const TableCell& cell) {
  if (column.text) return csv_field(cell.text);
  return cell.number && std::isfinite(*cell.number) ? fmt::format("{}", *cell.number) : "";
}

std::string count_text(double value) {
  constexpr const char* kUnits[] = {"", "k", "M", "G", "T"};
  std::size_t unit = 0;
  while (std::abs(value) >= 999.95 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.4g}{}", value, kUnits[unit]);
}

/// A time in hours, in the unit in which it is neither tiny nor huge.
std::string time_text(double hours) {
  const double seconds = 3600 * std::abs(hours);
  if (seconds < 60) return fmt::format("{:.3g} s", 3600 * hours);
  return seconds < 3600 ? fmt::format("{:.3g} min", 60 * hours) : fmt::format("{:.4g} h", hours);
}

}  // namespace

TableCell number_cell(double value, std::string_view format) {
  if (!std::isfinite(value)) return {"-", value};
  if (format == kCounts) return {count_text(value), value};
  if (format == kHours) return {time_text(value), value};
  return {fmt::format(fmt::runtime(format), value), value};
}

void Table::add_row(std::vector<TableCell> row) {
  HG_CHECK(row.size() == columns.size(), "table {}: a row of {} cells, expected {}", id, row.size(),
           columns.size());
  rows.push_back(std::move(row));
}

std::string markdown(const Table& table) {
  std::string text = "|", rule = "|";
  for (const Table::Column& column : table.columns) {
    text += fmt::format(" {} |", escape_markdown(column.name));
    rule += column.text ? "---|" : "---:|";
  }
  text += "\n" + rule + "\n";
  for (const auto& row : table.rows) {
    text += '|';
    for (const TableCell& cell : row) text += fmt::format(" {} |", escape_markdown(cell.text));
    text += '\n';
  }
  return text;
}

std::string csv(const Table& table) {
  std::string text;
  for (const Table::Column& column : table.columns)
    text += (text.empty() ? "" : ",") + csv_field(column.key);
  text += "\r\n";
  for (const auto& row : table.rows) {
    for (std::size_t c = 0; c < row.size(); ++c)
      text += (c == 0 ? "" : ",") + csv_text(table.columns[c], row[c]);
    text += "\r\n";
  }
  return text;
}

nlohmann::ordered_json json(const Table& table) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& row : table.rows) {
    nlohmann::ordered_json object;
    for (std::size_t c = 0; c < row.size(); ++c) {
      nlohmann::ordered_json& value = object[table.columns[c].key];
      if (table.columns[c].text) {
        value = row[c].text;
      } else if (row[c].number && std::isfinite(*row[c].number)) {
        value = *row[c].number;
      }
    }
    rows.push_back(std::move(object));
  }
  return rows;
}

std::string html(const Table& table) {
  constexpr std::size_t kLongText = 40;  // may be broken into lines
  std::string text = fmt::format(
      "<div class=\"table\"><table id=\"table-{}\">\n<caption>{}</caption>\n<thead><tr>",
      escape_html(table.id), escape_html(table.title));
  for (const Table::Column& column : table.columns) {
    text += fmt::format("<th scope=\"col\"{}>{}</th>", column.text ? " class=\"text\"" : "",
                        escape_html(column.name));
  }
  text += "</tr></thead>\n<tbody>\n";
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    text +=
        table.families.empty() ? "<tr>" : fmt::format("<tr data-family=\"{}\">", table.families[r]);
    for (std::size_t c = 0; c < table.columns.size(); ++c) {
      const std::string& content = table.rows[r][c].text;
      const char* tag = c == 0 ? "th" : "td";
      const char* style = !table.columns[c].text       ? ""
                          : content.size() > kLongText ? " class=\"text long\""
                                                       : " class=\"text\"";
      text += fmt::format("<{0}{1}{2}>{3}</{0}>", tag, c == 0 ? " scope=\"row\"" : "", style,
                          escape_html(content));
    }
    text += "</tr>\n";
  }
  text += "</tbody></table></div>\n";
  if (!table.note.empty())
    text += fmt::format("<p class=\"note\">{}</p>\n", escape_html(table.note));
  return text;
}

std::string escape_html(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

}  // namespace hg
