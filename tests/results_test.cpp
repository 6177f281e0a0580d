// The report in docs/results says what its sweep has measured, and opens.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "support/browser.h"
#include "support/paths.h"
#include "support/xml.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

std::filesystem::path result(const char* file) {
  return source_path(std::string("docs/results/lr-tiny/") + file);
}

/// The row of the table of runs that begins with this name.
std::string row_of(const std::string& page, const std::string& run) {
  const std::size_t table = page.find("id=\"table-runs\"");
  const std::size_t begin = page.find(run + "</th>", table);
  return begin == std::string::npos ? "" : page.substr(begin, page.find("</tr>", begin) - begin);
}

TEST(CommittedReport, HasTheNumbersOfItsSweep) {
  const std::string page = read_file(result("report.html"));
  const auto sweep = nlohmann::json::parse(read_file(result("sweep.json")));
  ASSERT_EQ(sweep["points"].size(), 48u);
  for (const auto& point : sweep["points"]) {
    const std::string row = row_of(page, point["name"]);
    EXPECT_THAT(row, HasSubstr(">" + point["status"].get<std::string>() + "<")) << point["name"];
    EXPECT_THAT(row, HasSubstr(fmt::format(">{:.4f}<", point["initial_loss"].get<double>())));
    if (point["status"] != "finished") continue;
    EXPECT_THAT(row,
                HasSubstr(fmt::format(">{:.4f}<", point["final_validation_loss"].get<double>())));
  }
  for (const auto& variant : sweep["variants"]) {
    EXPECT_THAT(page, HasSubstr(fmt::format(">{:.4f}<", variant["lr_sensitivity"].get<double>())));
    EXPECT_THAT(page,
                HasSubstr(fmt::format(">{:.4f}<", variant["best_validation_loss"].get<double>())));
  }
}

TEST(CommittedReport, OpensInABrowser) {
  need_browser();
  if (IsSkipped()) return;
  const TempFolder scratch;
  const std::string drawn = drawn_page(result("report.html"), scratch);
  EXPECT_THAT(drawn, HasSubstr("data-errors=\"\""));
  const std::size_t figures = count(drawn, "<canvas");
  EXPECT_GT(figures, 15u);
  EXPECT_THAT(drawn, HasSubstr(fmt::format("data-drawn=\"{}\"", figures)));
}

}  // namespace
}  // namespace hg::test
