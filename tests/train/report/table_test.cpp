#include "train/report/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/check.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

Table small() {
  Table table{.id = "t", .title = "A & B", .columns = {{"name", "name", true}, {"loss", "loss"}}};
  table.add_row({{"a|b, \"c\""}, number_cell(1.25, "{:.1f}")});
  table.add_row({{"</script>"}, number_cell(NAN, "{:.1f}")});
  return table;
}

TEST(Table, Markdown) {
  EXPECT_EQ(markdown(small()),
            "| name | loss |\n|---|---:|\n| a\\|b, \"c\" | 1.2 |\n| \\</script> | - |\n");
}

TEST(Table, CsvHasNumbersInFull) {
  EXPECT_EQ(csv(small()), "name,loss\r\n\"a|b, \"\"c\"\"\",1.25\r\n</script>,\r\n");
}

TEST(Table, JsonHasNullForWhatIsNotKnown) {
  EXPECT_EQ(json(small()).dump(),
            R"([{"name":"a|b, \"c\"","loss":1.25},{"name":"</script>","loss":null}])");
}

TEST(Table, HtmlIsEscaped) {
  const std::string text = html(small());
  EXPECT_THAT(text, HasSubstr("<caption>A &amp; B</caption>"));
  EXPECT_THAT(text,
              HasSubstr("<th scope=\"row\" class=\"text\">a|b, &quot;c&quot;</th><td>1.2</td>"));
  EXPECT_THAT(text, HasSubstr("&lt;/script&gt;"));
}

TEST(Table, CountsHaveUnits) {
  EXPECT_EQ(number_cell(950, kCounts).text, "950");
  EXPECT_EQ(number_cell(307'200, kCounts).text, "307.2k");
  EXPECT_EQ(number_cell(999'960, kCounts).text, "1M");
  EXPECT_EQ(number_cell(3.02e12, kCounts).text, "3.02T");
  EXPECT_EQ(number_cell(3.02e12, kCounts).number, 3.02e12);
}

TEST(Table, TimesHaveTheUnitThatFits) {
  EXPECT_EQ(number_cell(0.000121, kHours).text, "0.436 s");
  EXPECT_EQ(number_cell(0.205, kHours).text, "12.3 min");
  EXPECT_EQ(number_cell(0.205, kHours).number, 0.205);
  EXPECT_EQ(number_cell(3.25, kHours).text, "3.25 h");
}

TEST(Table, ARowOfAnotherLengthIsAnError) {
  Table table = small();
  EXPECT_THROW(table.add_row({{"x"}}), Error);
}

}  // namespace
}  // namespace hg::test
