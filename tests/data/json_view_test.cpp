#include "data/json_view.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace hg {
namespace {

template <class Fn>
std::string error_of(Fn fn) {
  try {
    fn();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(JsonView, ErrorsNameFileAndKey) {
  const std::string file = "f.json";
  const auto json = parse_json(R"({"a": {"b": [1, "two"]}, "c": true})", file);
  const JsonView root(file, json);
  EXPECT_EQ(root["a"]["b"][0].integer(0, 1), 1);
  EXPECT_EQ(root["a"]["b"][1].string(), "two");
  EXPECT_TRUE(root["c"].boolean());
  EXPECT_FALSE(root["absent"].boolean_or(false));
  EXPECT_EQ(error_of([&] { root["a"]["b"][0].string(); }),
            "f.json: a.b[0] is 1, expected a string");
  EXPECT_EQ(error_of([&] { root["a"]["b"][0].integer(2, 3); }),
            "f.json: a.b[0] is 1, expected an integer from 2 to 3");
  EXPECT_EQ(error_of([&] { root["c"]["d"]; }), "f.json: c is true, expected an object");
  EXPECT_EQ(error_of([&] { root["a"].array_size(); }),
            "f.json: a is {\"b\":[1,\"two\"]}, expected an array");
  EXPECT_EQ(error_of([&] { root["absent"].boolean(); }),
            "f.json: absent is null, expected true or false");
  EXPECT_EQ(root["a"]["b"][0].number(), 1);
  EXPECT_EQ(error_of([&] { root["c"].number(); }), "f.json: c is true, expected a number");
  EXPECT_EQ(error_of([&] { root["c"].expect(false); }), "f.json: c is true, expected false");
  EXPECT_EQ(error_of([&] { root["c"].expect(true); }), "no error");
}

TEST(JsonView, LongValuesAreShortened) {
  const std::string file = "f.json";
  const nlohmann::json json = std::string(1000, 'x');
  EXPECT_LT(error_of([&] { JsonView(file, json).boolean(); }).size(), 150U);
}

TEST(ParseJson, SaysWhereTheMistakeIs) {
  const std::string error = error_of([] { parse_json("{\"a\": 1,\n \"b\" 2}", "f.json"); });
  EXPECT_EQ(error.find("f.json: "), 0U) << error;
  EXPECT_NE(error.find("line 2, column"), std::string::npos) << error;
}

}  // namespace
}  // namespace hg
