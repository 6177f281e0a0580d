// The report and the page in docs/results say what their sweep has measured, and the report opens.
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "support/browser.h"
#include "support/paths.h"
#include "support/xml.h"
#include "train/report/statistics.h"
#include "train/report/sweep_file.h"

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

class CommittedPage : public testing::Test {
 protected:
  /// What the report makes of the variant's seeds.
  const SweepVariant& variant(const char* name) const {
    return *std::ranges::find(sweep.variants, name, &SweepVariant::name);
  }
  Difference to_baseline(const char* name) const {
    return compare(spread_of(variant(name).sensitivity_of_seeds),
                   spread_of(variant("baseline").sensitivity_of_seeds));
  }

  const std::string page = read_file(source_path("docs/results/lr-tiny.md"));
  const SweepFile sweep = read_sweep_file(source_path("docs/results/lr-tiny"));
};

TEST_F(CommittedPage, HasTheLossOfEachSeed) {
  for (const double lr : variant("baseline").grid) {
    std::string row = fmt::format("| {:g} |", lr);
    for (const SweepVariant& of : sweep.variants) {
      std::vector<std::string> losses;
      for (const ReportedPoint& point : sweep.points) {
        if (point.variant == of.name && point.lr == lr && point.final_validation_loss)
          losses.push_back(fmt::format("{:.4f}", *point.final_validation_loss));
      }
      row += fmt::format(" {} |",
                         losses.empty() ? "diverged" : fmt::format("{}", fmt::join(losses, ", ")));
    }
    EXPECT_THAT(page, HasSubstr(row));
  }
}

TEST_F(CommittedPage, HasTheSensitivityOfEachSeed) {
  ASSERT_EQ(sweep.variants.size(), 3u);
  for (const SweepVariant& of : sweep.variants) {
    ASSERT_EQ(of.grid.size(), 8u);
    const Spread seeds = spread_of(of.sensitivity_of_seeds);
    EXPECT_THAT(
        page, HasSubstr(fmt::format(
                  "| {} | {:g} | {:.4f} | {:g} | {:.4f} | {:.4f} | {:.4f} ± {:.4f} |", of.name,
                  *of.best_lr, *of.best_validation_loss, *of.largest_stable_lr, *of.lr_sensitivity,
                  fmt::join(of.sensitivity_of_seeds, ", "), seeds.mean, seeds.standard_error)));
  }
}

TEST_F(CommittedPage, SaysOfSensitivitiesWhatTheTestSays) {
  const Difference headwise = to_baseline("headwise"), elementwise = to_baseline("elementwise");
  for (std::size_t seed = 0; seed < 2; ++seed) {
    for (const char* other : {"baseline", "elementwise"})
      EXPECT_GT(variant("headwise").sensitivity_of_seeds.at(seed),
                variant(other).sensitivity_of_seeds.at(seed));
    EXPECT_LT(*variant("baseline").lr_sensitivity,
              variant("baseline").sensitivity_of_seeds.at(seed));
  }
  EXPECT_EQ(headwise.verdict, Difference::Verdict::not_distinguishable);
  EXPECT_THAT(page, HasSubstr(fmt::format("{:.4f} above the baseline's", headwise.value)));
  EXPECT_THAT(page, HasSubstr(fmt::format("less than the {:.4f} that may be", headwise.limit)));
  EXPECT_EQ(elementwise.verdict, Difference::Verdict::not_distinguishable);
  EXPECT_THAT(page, HasSubstr(fmt::format("{:.4f} below, of {:.4f} that may be chance",
                                          -elementwise.value, elementwise.limit)));
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
