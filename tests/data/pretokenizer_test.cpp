#include "data/pretokenizer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace hg {
namespace {

/// Words in brackets, added tokens by id.
std::string split(const BpeDefinition& definition, std::string_view text) {
  const Pretokenizer pretokenizer(definition);
  auto scratch = pretokenizer.new_scratch();
  std::string out;
  pretokenizer.split(
      text, scratch, [&](std::string_view word) { out += fmt::format("[{}]", word); },
      [&](std::int32_t id) { out += std::to_string(id); });
  return out;
}

BpeDefinition definition(bool nfc, std::vector<AddedToken> added) {
  BpeDefinition d;
  d.nfc = nfc;
  d.split_pattern = kQwenSplitPattern;
  d.added_tokens = std::move(added);
  return d;
}

TEST(Pretokenizer, AddedTokensThenNormalizationThenWords) {
  const auto d = definition(true, {{"<end>", 7, true, false}});
  EXPECT_EQ(split(d, "cafe\u0301 x<end>y  z"), "[caf\u00e9][ x]7[y][ ][ z]");
}

TEST(Pretokenizer, AMarkBehindAnAddedTokenDoesNotReachIntoIt) {
  EXPECT_EQ(split(definition(true, {{"<e", 7, true, false}}), "<e\u0301"), "7[\u0301]");
}

TEST(Pretokenizer, NormalizedTokensAreFoundInNormalizedText) {
  const auto source = definition(true, {{"\u00e9", 7, false, false}});
  const auto normalized = definition(true, {{"e\u0301", 7, false, true}});
  EXPECT_EQ(split(source, "a e\u0301 \u00e9"), "[a][ \u00e9][ ]7");
  EXPECT_EQ(split(normalized, "a e\u0301 \u00e9"), "[a][ ]7[ ]7");
}

TEST(Pretokenizer, WithoutNormalizationTextStaysAsItIs) {
  EXPECT_EQ(split(definition(false, {}), "e\u0301"), "[e][\u0301]");
}

}  // namespace
}  // namespace hg
