#include "train/report/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/browser.h"
#include "support/paths.h"
#include "support/report_runs.h"
#include "support/xml.h"

namespace hg::test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

const std::vector<std::string> kSections = {
    "verdict",     "loss",    "spikes", "gradients",  "attention", "attention-maps", "gate",
    "activations", "experts", "sweep",  "throughput", "config",    "reproduction"};

/// A line of instruments.jsonl with everything that maps are drawn of.
const std::string kLook =
    R"({"step": 100, "layers": [{"attention": {"first_token": [0.1, 0.2]},
    "gate": {"mean_of_heads": [0.3, null], "histogram": [[3, 0, 1], [0, 2, 2]],
             "opened_by": [{"id": 1, "text": "</script>", "score": 0.9, "count": 5}],
             "closed_by": [{"id": 2, "text": "<b>", "score": 0.1, "count": 5}]},
    "experts": {"load": [0.5, 1.5, 1.0]}}]})";

class PageTest : public testing::Test {
 protected:
  PageTest() {
    for (const int seed : {1, 2}) {
      write_run(folder / "runs", fmt::format("base-seed{}", seed),
                {.seed = seed, .offset = 0.001 * seed});
      write_run(folder / "runs", fmt::format("gated-seed{}", seed),
                {.gate = "sdpa", .seed = seed, .offset = -0.5 + 0.001 * seed, .spike = 130});
    }
    std::string look = kLook;
    std::erase(look, '\n');
    write_file(folder / "runs/gated-seed1/instruments.jsonl", look + "\n");
    write_file(folder / "runs/gated-seed1/attention_maps.svg",
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" "
               "height=\"9\"><script>bad()</script></svg>");
    fs::create_directories(folder / "sweep");
    write_file(folder / "sweep/sweep.json",
               R"({"version": 1, "name": "rates", "points": [
                 {"name": "p1", "run": "../runs/base-seed1", "variant": "none", "lr": 0.1, "status": "finished",
                  "initial_loss": 5, "final_validation_loss": 2},
                 {"name": "p2", "run": "../runs/gated-seed1", "variant": "none", "lr": 1, "status": "diverged",
                  "initial_loss": 5}], "variants": []})");
  }
  Report report() const { return make_report(read_report_sources({folder / "runs"})); }
  TempFolder folder;
};

std::string section_of(const std::string& page, const std::string& id) {
  const std::size_t begin = page.find("<section id=\"" + id + "\">");
  if (begin == std::string::npos) return "";
  return page.substr(begin, page.find("</section>", begin) - begin);
}

TEST_F(PageTest, HasEverySectionOnce) {
  const std::string page = html_page(report());
  for (const std::string& id : kSections)
    EXPECT_EQ(count(page, "<section id=\"" + id + "\">"), 1u) << id;
  EXPECT_THAT(section_of(page, "gate"), HasSubstr("data-map=\"gate-map-0\""));
  EXPECT_THAT(section_of(page, "experts"), HasSubstr("data-map=\"experts-map-0\""));
  EXPECT_THAT(section_of(page, "attention-maps"), HasSubstr("src=\"data:image/svg+xml;base64,"));
  EXPECT_THAT(section_of(page, "spikes"),
              ContainsRegex("gated-seed2</th><td class=\"text\">spike</td><td>130"));
  EXPECT_THAT(section_of(page, "config"), HasSubstr("model.attention.gate.position"));
  EXPECT_THAT(section_of(page, "config"), Not(HasSubstr("vocab_size")));
}

TEST_F(PageTest, ChartsOfLossesAreAsHighAsRunsThatDidNotDiverge) {
  write_run(folder / "runs", "gated-seed1", {.offset = 500});  // the sweep says it diverged
  const Report sweep = make_report(read_report_sources({folder / "sweep"}));
  const auto loss = std::ranges::find(sweep.sections, "loss", &ReportSection::id);
  ASSERT_NE(loss, sweep.sections.end());
  for (const PageChart& chart : loss->charts) {
    if (chart.title != "Smoothed" && chart.title != "Validation") continue;
    EXPECT_NEAR(chart.y_max.value_or(0), chart.title == "Smoothed" ? 3.0 : 3.5, 0.1) << chart.title;
    EXPECT_EQ(chart.lines.size(), 2u);
  }
}

TEST_F(PageTest, ASectionWithoutDataSaysSo) {
  fs::remove_all(folder / "runs");
  write_file(folder / "a.csv", "1,3\n2,2.5\n");
  const std::string page = html_page(make_report(read_report_sources({folder / "a.csv"})));
  for (const char* id : {"gradients", "attention", "attention-maps", "gate", "activations",
                         "experts", "sweep", "throughput", "config", "spikes"}) {
    EXPECT_THAT(section_of(page, id), HasSubstr("class=\"absent\"")) << id;
    EXPECT_THAT(section_of(page, id), Not(HasSubstr("<figure"))) << id;
  }
  EXPECT_THAT(section_of(page, "loss"), HasSubstr("<figure"));
}

TEST_F(PageTest, LoadsNothingFromAnywhere) {
  const std::string page = html_page(report());
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_EQ(count(page, "<link"), 0u);
  EXPECT_EQ(count(page, "@import"), 0u);
  EXPECT_THAT(page, Not(ContainsRegex("src=\"http")));
  EXPECT_THAT(page, HasSubstr("MIT License"));
}

TEST_F(PageTest, TextOfRunsCannotLeaveItsPlace) {
  const std::string name = "x\"></script><script>document.title='taken'<!--";
  const fs::path path = folder / "bad" / "run";
  write_run(folder / "bad", "run",
            {.more = "'</script><script>bad()</script>': \"<img src=x>\"\n"});
  Report bad = make_report(read_report_sources({path}), {.title = name});
  bad.sections[1].charts[0].lines[0].name = name;
  const std::string page = html_page(bad),
                    clean = html_page(make_report(read_report_sources({path})));
  EXPECT_EQ(count(page, "<script"), count(clean, "<script"));
  EXPECT_EQ(count(page, "</script"), count(clean, "</script"));
  EXPECT_EQ(count(clean, "<img"), 0u);
  EXPECT_EQ(nlohmann::json::parse(chart_data(bad))["charts"]["loss-chart-0"]["lines"][0]["name"],
            name);
}

TEST_F(PageTest, TheVerdictIsThatOfTheRule) {
  const Report made = report();
  EXPECT_EQ(made.grouping.groups[made.grouping.baseline].name, "base");
  ASSERT_EQ(made.sections[0].findings.size(), 1u);
  EXPECT_THAT(
      made.sections[0].findings[0],
      HasSubstr("gated: validation loss 1.6015, 0.5000 lower than base (± 0.0007): more than"));
}

TEST_F(PageTest, SaysWhichRunsAreLeftOutOfWhichComparison) {
  write_run(folder / "runs", "long", {.gate = "sdpa", .more = "training.seq_len: 256\n"});
  for (const char* run : {"base-seed1", "base-seed2"}) {
    const fs::path config = folder / "runs" / run / "config.yaml";
    write_file(config, read_file(config) + "training.seq_len: 128\n");
  }
  const Report made = report();
  EXPECT_THAT(made.sections[0].findings,
              testing::Contains("long and base: losses are not compared: training.seq_len is 256, "
                                "there 128."));
  EXPECT_THAT(made.sections[0].lead, HasSubstr("5 runs of 3 variants"));
  fs::remove_all(folder / "runs/base-seed1");
  EXPECT_THAT(make_report(read_report_sources({folder / "runs/base-seed2"})).sections[0].lead,
              HasSubstr("1 run of 1 variant;"));
}

TEST_F(PageTest, TheSameAsText) {
  const Report made = report();
  EXPECT_THAT(report_markdown(made), HasSubstr("| gated | 2 | 1.6015 |"));
  const auto json = nlohmann::json::parse(report_json(made));
  EXPECT_EQ(json["baseline"], "base");
  EXPECT_EQ(json["sections"]["verdict"]["tables"]["runs"].size(), 4u);
  EXPECT_EQ(json["sections"]["verdict"]["tables"]["verdict"][1]["verdict"], "lower");
  EXPECT_EQ(json["sections"]["sweep"]["absent"],
            "No sweep with points that have finished is among the runs.");
  const std::string csv = report_csv(made);
  EXPECT_EQ(count(csv, "\r\n"), 5u);
  EXPECT_TRUE(csv.starts_with("run,variant,seed,learning_rate,status,steps,tokens")) << csv;
}

TEST_F(PageTest, DivergedPointsOfASweepStandAtTheirFirstLoss) {
  const Report made = make_report(read_report_sources({folder / "sweep"}));
  const auto& lines = made.sections[9].charts.at(0).lines;
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[2].style, ChartLine::Style::crosses);
  EXPECT_EQ(lines[2].points.values, std::vector<double>{5});
}

// Chrome runs what a reader's browser would: no error, nothing blocked, every chart drawn.
TEST_F(PageTest, DrawsEverythingInABrowser) {
  need_browser();
  if (IsSkipped()) return;
  const Report made = make_report(read_report_sources({folder / "runs", folder / "sweep"}),
                                  {.title = "</script><script>document.title='taken'</script>"});
  std::size_t figures = 0;
  for (const ReportSection& section : made.sections)
    figures += section.charts.size() + section.maps.size();
  EXPECT_GT(figures, 15u);
  write_file(folder / "report.html", html_page(made));
  const std::string drawn = drawn_page(folder / "report.html", folder);
  EXPECT_THAT(drawn, HasSubstr("data-errors=\"\""));
  EXPECT_THAT(drawn, HasSubstr(fmt::format("data-drawn=\"{}\"", figures)));
  EXPECT_EQ(count(drawn, "<canvas"), figures);
  EXPECT_THAT(drawn, Not(HasSubstr("<title>taken")));
}

}  // namespace
}  // namespace hg::test
