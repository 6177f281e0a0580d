#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "core/config.h"
#include "core/config_example.h"

namespace hg {
namespace {

using example::Decay;
using example::RunConfig;

TEST(ConfigText, WritesEveryKeyInTheOrderOfTheFields) {
  RunConfig run;
  run.name = "first run";
  run.data.sources = {{"a.bin", 1}, {"b c.bin", 0.5}};
  EXPECT_EQ(to_yaml(run), R"(name: "first run"
optimizer:
  lr: 0.0003
  min_lr: null
  warmup_steps: 0
  decay: cosine
  eps: 1e-08
  no_decay: [norm, "a, b"]
data:
  sources: [{path: a.bin, weight: 1}, {path: "b c.bin", weight: 0.5}]
  lengths: []
  head_dim: 64
  seed: 0
  shuffle: true
)");
}

TEST(ConfigText, NamesTheOriginOfEveryKey) {
  const auto loaded = parse_config<RunConfig>(
      "name: x\noptimizer:\n  lr: 1\ndata: {sources: [{path: /a/long/path/of/one}, {path: b}]}\n",
      "c.yaml", {"optimizer.eps=0.5"});
  EXPECT_EQ(to_yaml(loaded.value, loaded.origins),
            R"(name: x                                             # c.yaml:1
optimizer:
  lr: 1                                             # c.yaml:3
  min_lr: null                                      # default
  warmup_steps: 0                                   # default
  decay: cosine                                     # default
  eps: 0.5                                          # --set
  no_decay: [norm, "a, b"]                          # default
data:
  sources: [{path: /a/long/path/of/one, weight: 1}, {path: b, weight: 1}]  # c.yaml:4
  lengths: []                                       # default
  head_dim: 64                                      # default
  seed: 0                                           # default
  shuffle: true                                     # default
)");
}

/// What remains of a config after it was written and read again.
RunConfig round_trip(const RunConfig& run) {
  return parse_config<RunConfig>(to_yaml(run), "resolved.yaml").value;
}

TEST(ConfigText, NumbersReadBackBitForBit) {
  RunConfig run;
  run.name = "x";
  run.data.lengths = {8};
  for (const double lr : {0.1, 1.0 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
                          1e16, 123456789012345678.0}) {
    run.optimizer.lr = lr;
    run.optimizer.min_lr = lr;
    EXPECT_EQ(std::bit_cast<std::uint64_t>(round_trip(run).optimizer.lr),
              std::bit_cast<std::uint64_t>(lr));
    EXPECT_EQ(round_trip(run).optimizer.min_lr, lr);
  }
  for (const float eps : {0.1F, 1.0F / 3, 1e-45F, 0.99999994F}) {
    run.optimizer.eps = eps;
    EXPECT_EQ(std::bit_cast<std::uint32_t>(round_trip(run).optimizer.eps),
              std::bit_cast<std::uint32_t>(eps));
  }
  run.optimizer.warmup_steps = std::numeric_limits<std::int64_t>::max();
  run.data.head_dim = std::numeric_limits<int>::min();
  run.data.seed = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(round_trip(run).optimizer.warmup_steps, run.optimizer.warmup_steps);
  EXPECT_EQ(round_trip(run).data.head_dim, run.data.head_dim);
  EXPECT_EQ(round_trip(run).data.seed, run.data.seed);
}

TEST(ConfigText, StringsReadBackAsTheyWere) {
  RunConfig run;
  run.data.lengths = {8};
  run.optimizer.decay = Decay::off;  // a boolean to other readers of YAML
  const std::vector<std::string> words = {
      "plain", "null", "~",     "true",     "No",         "5",   "1e3",        "-",
      " a",    "a ",   "a: b",  "a #b",     "[x]",        "{x}", "'",          "\"",
      "\\",    "\\n",  "\n",    "a\r\n\tb", "&a",         "*a",  "!a",         "%a",
      "@a",    "`a",   "|",     ">",        "?",          "a,b", "ü 漢字",     "\x01\x1f\x7f",
      "a//b",  "a.b",  "--set", "---",      "2024-01-01", "x=y", "http://a/b", "../a"};
  run.optimizer.no_decay = words;
  run.optimizer.no_decay.push_back("");
  for (const std::string& word : words) {
    run.name = word;
    run.data.sources = {{word, 1}};
    const RunConfig again = round_trip(run);
    EXPECT_EQ(again.name, word) << to_yaml(run);
    EXPECT_EQ(again.data.sources.at(0).path, word);
    EXPECT_EQ(again.optimizer.no_decay, run.optimizer.no_decay);
    EXPECT_EQ(again.optimizer.decay, Decay::off);
  }
}

TEST(ConfigText, TheTextWithOriginsReadsBackToo) {
  const auto loaded =
      parse_config<RunConfig>("name: 'a # b'\ndata: {lengths: [8]}", "c.yaml", {"optimizer.lr=1"});
  const std::string yaml = to_yaml(loaded.value, loaded.origins);
  EXPECT_EQ(to_yaml(parse_config<RunConfig>(yaml, "again").value), to_yaml(loaded.value));
}

TEST(ConfigText, DescribesSectionsKeysAndItemsOfLists) {
  std::string table;
  for (const ConfigHelp& row : describe<RunConfig>()) {
    table += fmt::format("{} ; {} ; {} ; {} ; {}\n", row.path, row.type, row.default_value,
                         row.constraint, row.help);
  }
  EXPECT_EQ(table, R"(name ; string ; required ; of length > 0 ; what the run is called
optimizer ; section ;  ;  ; how weights change
optimizer.lr ; number ; 0.0003 ; > 0 ; peak learning rate
optimizer.min_lr ; number or null ; null ; >= 0 ; where the decay ends
optimizer.warmup_steps ; integer ; 0 ; >= 0 ; steps of linear warm-up
optimizer.decay ; cosine | linear | wsd | off ; cosine ;  ; shape of the decay
optimizer.eps ; number ; 1e-08 ; > 0 and < 1 ; added to the denominator
optimizer.no_decay ; [string, ...] ; [norm, "a, b"] ;  ; parameters without weight decay
data ; section ;  ;  ; where tokens come from
data.sources ; [section, ...] ; [] ;  ; what to train on
data.sources[].path ; string ; required ;  ; token file
data.sources[].weight ; number ; 1 ; > 0 ; share of the tokens
data.lengths ; [integer, ...] ; [] ; of length > 0; divisible by 8 and <= 4096 ; sequence lengths
data.head_dim ; integer ; 64 ;  ; features per head
data.seed ; integer ; 0 ;  ; of the shuffle
data.shuffle ; boolean ; true ;  ; in a random order
)");
}

TEST(ConfigText, DifferencesAreByKey) {
  RunConfig a, b;
  EXPECT_TRUE(differences(a, b).empty());
  b.optimizer.min_lr = 1e-5;
  b.optimizer.lr = std::nextafter(a.optimizer.lr, 1);
  b.data.sources = {{"x", 2}};
  const std::vector<ConfigDifference> rows = differences(a, b);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].path, "optimizer.lr");
  EXPECT_EQ(rows[0].a, "0.0003");
  EXPECT_EQ(rows[0].b, "0.00030000000000000003");
  EXPECT_EQ(rows[1].path, "optimizer.min_lr");
  EXPECT_EQ(rows[1].a, "null");
  EXPECT_EQ(rows[1].b, "1e-05");
  EXPECT_EQ(rows[2].path, "data.sources");
  EXPECT_EQ(rows[2].b, "[{path: x, weight: 2}]");
}

}  // namespace
}  // namespace hg
