#include "train/metrics/json_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/token_data.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::Pair;

std::vector<std::pair<std::int64_t, int>> read(std::string_view text,
                                               std::optional<std::int64_t>* unfinished = nullptr) {
  std::vector<std::pair<std::int64_t, int>> found;
  const auto half =
      for_each_json_line(text, "f.jsonl", [&](const nlohmann::json& value, std::int64_t number) {
        found.push_back({number, value.get<int>()});
      });
  if (unfinished != nullptr) *unfinished = half;
  return found;
}

TEST(JsonLinesOfAFile, AreNumberedFromOneAndBlankOnesSkipped) {
  EXPECT_THAT(read("7\n\n \t\n8\r\n9"), ElementsAre(Pair(1, 7), Pair(4, 8), Pair(5, 9)));
  EXPECT_TRUE(read("").empty());
}

TEST(JsonLinesOfAFile, HalfALineAtTheEndIsPassedOver) {
  std::optional<std::int64_t> unfinished;
  EXPECT_THAT(read("1\n{\"a\": ", &unfinished), ElementsAre(Pair(1, 1)));
  EXPECT_EQ(unfinished, 2);
  read("1\n", &unfinished);
  EXPECT_FALSE(unfinished);
}

TEST(JsonLinesOfAFile, AnyOtherLineThatIsNotJsonIsAnError) {
  EXPECT_EQ(error_of([] { read("1\n{\"a\": \n3\n"); }), "f.jsonl:2: is not JSON");
  EXPECT_EQ(error_of([] { read("1\n{\"a\": \n"); }), "f.jsonl:2: is not JSON");
}

}  // namespace
}  // namespace hg::test
