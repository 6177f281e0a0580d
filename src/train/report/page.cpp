#include "train/report/page.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "build_info.h"
#include "core/check.h"
#include "train/report/page_parts.h"

namespace hg {
namespace {

std::string base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t j = 0; j < 3; ++j)
      three = three << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      text += i + j > bytes.size() ? '=' : kDigits[three >> (18 - 6 * j) & 63];
  }
  return text;
}

std::string problem_list(const std::vector<ReportProblem>& problems) {
  std::string text = "<ul>\n";
  for (const auto& [what, reason] : problems)
    text += fmt::format("<li><b>{}</b>: {}</li>\n", escape_html(what), escape_html(reason));
  return text + "</ul>\n";
}

/// The places that scripts fill: a figure for each chart and map.
std::string figures(const ReportSection& section) {
  std::string text;
  if (!section.charts.empty()) text += "<div class=\"figures\">\n";
  for (std::size_t i = 0; i < section.charts.size(); ++i)
    text +=
        fmt::format("<figure data-chart=\"{0}-chart-{1}\"><figcaption>{2}</figcaption></figure>\n",
                    section.id, i, escape_html(section.charts[i].title));
  if (!section.charts.empty()) text += "</div>\n";
  if (!section.maps.empty()) text += "<div class=\"maps\">\n";
  for (std::size_t i = 0; i < section.maps.size(); ++i)
    text += fmt::format("<figure data-map=\"{0}-map-{1}\"><figcaption>{2}</figcaption></figure>\n",
                        section.id, i, escape_html(section.maps[i].title));
  if (!section.maps.empty()) text += "</div>\n";
  // As an image, a picture can run no script and load nothing.
  for (const auto& [title, svg] : section.pictures)
    text += fmt::format(
        "<figure class=\"picture\"><figcaption>{0}</figcaption>"
        "<img alt=\"Attention maps of {0}\" src=\"data:image/svg+xml;base64,{1}\"></figure>\n",
        escape_html(title), base64(svg));
  return text;
}

std::string section_html(const ReportSection& section) {
  std::string text =
      fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n", section.id, escape_html(section.title));
  if (!section.absent.empty())
    return text +
           fmt::format("<p class=\"absent\">{}</p>\n</section>\n", escape_html(section.absent));
  for (const std::string& finding : section.findings)
    text += fmt::format("<p class=\"finding\">{}</p>\n", escape_html(finding));
  if (!section.lead.empty())
    text += fmt::format("<p class=\"lead\">{}</p>\n", escape_html(section.lead));
  text += figures(section);
  for (const Table& table : section.tables) text += html(table);
  for (const auto& [title, content] : section.attachments)
    text += fmt::format("<details><summary>{}</summary><pre>{}</pre></details>\n",
                        escape_html(title), escape_html(content));
  return text + "</section>\n";
}

std::string contents(const Report& report) {
  std::string text = "<nav aria-label=\"Sections\">\n";
  for (const ReportSection& section : report.sections) {
    if (section.absent.empty())
      text += fmt::format("<a href=\"#{}\">{}</a>\n", section.id, escape_html(section.title));
  }
  return text + "</nav>\n";
}

std::string main_html(const Report& report) {
  std::string text = fmt::format("<h1>{}</h1>\n{}", escape_html(report.title), contents(report));
  if (!report.problems.empty())
    text += "<section id=\"left-out\">\n<h2>Left out</h2>\n" + problem_list(report.problems) +
            "</section>\n";
  for (const ReportSection& section : report.sections) text += section_html(section);
  if (!report.remarks.empty())
    text += "<section id=\"remarks\">\n<h2>Remarks</h2>\n" + problem_list(report.remarks) +
            "</section>\n";
  return text;
}

/// The template with each {{name}} replaced; what is put in is not looked at again.
std::string fill(std::string_view page,
                 const std::vector<std::pair<std::string_view, std::string>>& parts) {
  std::string text;
  while (true) {
    const std::size_t begin = page.find("{{"), end = page.find("}}", begin);
    text += page.substr(0, begin);
    if (begin == std::string_view::npos) return text;
    const std::string_view name = page.substr(begin + 2, end - begin - 2);
    const auto part = std::ranges::find(parts, name, [](const auto& p) { return p.first; });
    HG_CHECK(part != parts.end(), "the report's page has no part '{}'", name);
    text += part->second;
    page.remove_prefix(end + 2);
  }
}

std::string dump(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string html_page(const Report& report) {
  return fill(page::kTemplate,
              {{"title", escape_html(report.title)},
               {"style", page::kStyle},
               {"main", main_html(report)},
               {"version", fmt::format("{} ({})", build::kVersion, build::kRevision)},
               {"data", chart_data(report)},
               {"library", page::kLibrary},
               {"script", std::string(page::kCharts) + page::kMaps + page::kScript}});
}

std::string report_markdown(const Report& report) {
  std::string text = fmt::format("# {}\n", report.title);
  const auto list = [&](const char* title, const std::vector<ReportProblem>& problems) {
    if (!problems.empty()) text += fmt::format("\n## {}\n\n", title);
    for (const auto& [what, reason] : problems) text += fmt::format("- {}: {}\n", what, reason);
  };
  list("Left out", report.problems);
  for (const ReportSection& section : report.sections) {
    if (section.tables.empty()) continue;
    text += fmt::format("\n## {}\n", section.title);
    for (const std::string& finding : section.findings) text += fmt::format("\n{}\n", finding);
    for (const Table& table : section.tables) {
      text += fmt::format("\n{}:\n\n{}", table.title, markdown(table));
      if (!table.note.empty()) text += fmt::format("\n{}\n", table.note);
    }
  }
  list("Remarks", report.remarks);
  return text;
}

std::string report_csv(const Report& report) {
  for (const ReportSection& section : report.sections) {
    for (const Table& table : section.tables) {
      if (table.id == "runs") return csv(table);
    }
  }
  fail("the report '{}' has no table of runs", report.title);
}

std::string report_json(const Report& report) {
  using Json = nlohmann::ordered_json;
  const auto list = [](const std::vector<ReportProblem>& problems) {
    Json json = Json::array();
    for (const auto& [what, reason] : problems)
      json.push_back({{"what", what}, {"reason", reason}});
    return json;
  };
  Json result = {{"title", report.title},
                 {"baseline", report.grouping.groups[report.grouping.baseline].name},
                 {"left_out", list(report.problems)},
                 {"remarks", list(report.remarks)},
                 {"sections", Json::object()}};
  for (const ReportSection& section : report.sections) {
    Json& entry = result["sections"][section.id];
    if (!section.absent.empty()) {
      entry["absent"] = section.absent;
      continue;
    }
    entry["findings"] = section.findings;
    entry["tables"] = Json::object();
    for (const Table& table : section.tables) entry["tables"][table.id] = json(table);
  }
  return dump(result);
}

}  // namespace hg
