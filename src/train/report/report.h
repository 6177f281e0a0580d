// A report as it is drawn: sections of tables, charts and maps, before they become a page or text.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "train/report/groups.h"
#include "train/report/sources.h"
#include "train/report/table.h"

namespace hg {

struct ChartLine {
  enum class Style { line, faint, dashed, points, crosses };

  std::string name;
  std::size_t group = 0;
  Style style = Style::line;
  Series points = {};  ///< NaN interrupts the line
};

struct PageChart {
  std::string title, x_label, y_label;
  bool log_x = false, log_y = false;
  bool by_family = false;  ///< lines are of families, whatever their groups
  std::optional<double> y_min = {}, y_max = {};
  std::vector<ChartLine> lines = {};
};

/// A matrix of coloured cells.
struct HeatMap {
  enum class Scale {
    share,  ///< from 0 to the largest value of all maps of the section
    unit,   ///< from 0 to 1
    load    ///< around 1, logarithmic, from 1/8 to 8
  };

  std::string title, x_label, y_label;
  std::size_t rows = 0, columns = 0;
  Scale scale = Scale::unit;
  std::vector<double> values = {};          ///< [rows, columns]
  std::vector<std::string> row_names = {};  ///< empty: counted from 0
};

struct Picture {
  std::string title, svg;
};

/// Text that is long and only opened when asked for.
struct Attachment {
  std::string title, text;
};

struct ReportSection {
  std::string id, title;
  std::string lead = {};                   ///< what is shown, in a sentence or two
  std::string absent = {};                 ///< why nothing is shown; then there is nothing else
  std::vector<std::string> findings = {};  ///< sentences
  std::vector<Table> tables = {};
  std::vector<PageChart> charts = {};
  std::vector<HeatMap> maps = {};
  std::vector<Picture> pictures = {};
  std::vector<Attachment> attachments = {};
};

struct Report {
  struct Run {
    std::string name;
    std::size_t group;
  };
  std::string title;
  std::vector<Run> runs = {};
  Grouping grouping = {};
  std::vector<ReportProblem> problems = {};  ///< what was left out
  std::vector<ReportProblem> remarks = {};   ///< what is there, but not as it should be
  std::vector<ReportSection> sections = {};
};

struct ReportOptions {
  std::string title = "headgate report";
  std::optional<std::string> baseline = {};
  /// Makes attention maps of runs that are shown with them, instead of those in their folders; an
  /// error becomes a remark.
  std::function<std::string(const ReportRun&)> attention_maps = {};
};

/// Compares what was read. Throws if there is no run in it.
Report make_report(ReportSources sources, const ReportOptions& options = {});

}  // namespace hg
