// A report as text: one HTML file that needs nothing else, Markdown, CSV or JSON.
#pragma once

#include <string>

#include "train/report/report.h"

namespace hg {

/// One file with its style, scripts, charting library (Chart.js) and data inside; it loads
/// nothing from anywhere. Text of runs is escaped wherever it stands.
std::string html_page(const Report& report);

/// Findings and tables of all sections, and what was left out.
std::string report_markdown(const Report& report);
/// The table of runs alone, a line for each.
std::string report_csv(const Report& report);
/// {"title", "baseline", "left_out", "remarks", "sections": {id: {"findings", "tables": {id:
/// rows}}}}
std::string report_json(const Report& report);

/// What charts draw, as JSON that may stand in a <script> element.
std::string chart_data(const Report& report);

}  // namespace hg
