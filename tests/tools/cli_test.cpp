// The program as users meet it: exit codes, and one clear error for bad input.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "support/expert_run.h"
#include "support/finish.h"
#include "support/paths.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
namespace fs = std::filesystem;

Finished headgate(const std::string& arguments) { return finish(kHeadgate + " " + arguments); }

class CliTest : public testing::Test {
 protected:
  std::string write(const char* name, const std::string& content) const {
    const fs::path path = folder / name;
    std::ofstream(path) << content;
    return path.string();
  }
  void expect_error(const std::string& arguments, const std::string& words) const {
    const Finished result = headgate(arguments);
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_THAT(result.output, HasSubstr(words));
  }
  std::string in(const char* name) const { return (folder / name).string(); }
  /// Trains a small byte model for two steps; returns the run folder.
  std::string train_small() const {
    std::string text;
    for (int i = 0; i < 300; ++i) {
      const std::string document = fmt::format("{} and {} make {}.", i, i + 1, 2 * i + 1);
      text += nlohmann::json{{"text", document}}.dump() + "\n";
    }
    const std::string tokenize = "data tokenize " + write("text.jsonl", text) +
                                 " --tokenizer byte --validation 0.2 --output " + in("tokens");
    const std::string train =
        "train " + tiny + " --run " + in("run") + " --set data.train=" + in("tokens_train") +
        " --set data.validation=" + in("tokens_validation") +
        " --set data.tokenizer=byte --set model.vocab_size=257 --set training.steps=2"
        " --set training.seq_len=64 --set training.micro_batch_size=4"
        " --set training.global_batch_size=4 --set lr_scheduler.warmup_steps=0"
        " --set validation.sequences=8 --set metrics.tensorboard=false";
    for (const std::string& command : {tokenize, train}) {
      const Finished result = headgate(command);
      EXPECT_EQ(result.exit_code, 0) << result.output;
    }
    return in("run");
  }

  TempFolder folder;
  const std::string tiny = source_path("configs/tiny.yaml");
};

TEST_F(CliTest, ConfigShowsValuesAndTheirOrigins) {
  const Finished result = headgate("config " + tiny + " --set training.steps=20");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("# --set"));
  EXPECT_THAT(result.output, HasSubstr("# default"));
}

TEST_F(CliTest, TheDocumentationOfKeysIsCurrent) {
  EXPECT_EQ(headgate("config --keys").output, read_file(source_path("docs/config.md")));
}

TEST_F(CliTest, ConfigNamesEveryProblemWithItsPlace) {
  const std::string file =
      write("bad.yaml", "extends: " + tiny + "\noptimiser:\n  lr: 1\ntraining:\n  steps: many\n");
  expect_error("config " + file, "bad.yaml:2:1");
  expect_error("config " + file, "did you mean 'optimizer'");
  expect_error("config " + file, "bad.yaml:5:3");
  expect_error("train " + tiny + " --set model.num_key_value_heads=3", "does not divide");
  expect_error("train " + in("none.yaml"), "none.yaml");
}

TEST_F(CliTest, TokenizingNamesBadInput) {
  const std::string out = " --tokenizer byte --output " + in("out");
  expect_error("data tokenize " + write("empty.txt", " \n\n") + out, "empty corpus");
  expect_error("data tokenize " + write("bad.jsonl", "{\"text\": \"a\"}\n{\"txt\": 1}\n") + out,
               "bad.jsonl:2");
  expect_error("data tokenize " + in("missing.txt") + out, "missing.txt");
  expect_error(
      "data train-tokenizer " + write("bytes.txt", "ab\xff cd") + " --output " + in("t.json"),
      "UTF-8");
  expect_error("data train-tokenizer " + write("short.txt", "ab ab") +
                   " --vocab-size 100 --output " + in("t.json"),
               "257");
  EXPECT_FALSE(fs::exists(folder / "out_train.idx"));
  EXPECT_FALSE(fs::exists(folder / "t.json"));
}

TEST_F(CliTest, TokenFilesAreCheckedWhenOpened) {
  ASSERT_EQ(headgate("data tokenize " + write("a.txt", "one two three four five") +
                     " --tokenizer byte --validation 0 --output " + in("ok"))
                .exit_code,
            0);
  EXPECT_EQ(headgate("data inspect " + in("ok_train")).exit_code, 0);
  expect_error("data inspect " + in("nothing"), "nothing.idx");
  fs::copy(folder / "ok_train.idx", folder / "cut.idx");
  fs::copy(folder / "ok_train.bin", folder / "cut.bin");
  fs::resize_file(folder / "cut.bin", 10);
  expect_error("data inspect " + in("cut"), "cut.bin");
  const std::string train = "train " + tiny + " --run " + in("run") +
                            " --set data.tokenizer=byte --set data.train=" + in("ok_train") +
                            " --set \"data.validation=''\"";
  expect_error(train + " --set model.vocab_size=100", "257 ids, more than model.vocab_size = 100");
  expect_error(train, "257");  // 24 tokens are no sequence of 257
  EXPECT_FALSE(fs::exists(folder / "run"));
}

TEST_F(CliTest, ConvertsHeaderlessShards) {
  const std::string shard = write("shard.bin", std::string("a\0b\0\xff\0c\0\xff\0", 10));
  const Finished result = headgate(
      "data convert " + shard + " --headerless u16 --document-ends 255 --vocab-size 257 --output " +
      in("converted"));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("2 documents, 5 tokens"));
  expect_error("data convert " + shard + " --vocab-size 257 --output " + in("other"), "shard.bin");
}

TEST_F(CliTest, PlanIsQuickAndSmall) {
  const Finished result = headgate("plan " + source_path("configs/dense-1.7b-28l.yaml"));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("1720.8 M"));
}

TEST_F(CliTest, PlanOfAPipelineIsOfTheLargestStage) {
  // A large vocabulary's head, which the last stage has, outweighs micro-batches in flight.
  const Finished result =
      headgate("plan " + source_path("configs/tiny.yaml") +
               " --ranks 2 --set parallelism.pipeline=2 --set model.vocab_size=100000 "
               "--set model.tie_word_embeddings=false");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("rank 1 of 2, on the stage that needs the most memory"));
}

TEST_F(CliTest, ReplayRepeatsAStep) {
  const std::string run = train_small();
  const Finished result = headgate("replay " + run + " --step 2");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("samples 4 to 7, from the initial weights"));
  EXPECT_THAT(result.output, HasSubstr("of 1 recorded steps before it 1 repeat bit for bit"));
  EXPECT_THAT(result.output, HasSubstr("it repeats bit for bit: the data or the weights"));
  EXPECT_THAT(result.output, ContainsRegex("sample [4-7], document [0-9]+: .[0-9a-z .]+"));
  expect_error("replay " + run + " --step 3", "neither metrics.jsonl nor events.jsonl has a step");
}

TEST_F(CliTest, SpikesFindsWhatIsPlanted) {
  std::string table = "step,loss\n";
  for (int step = 1; step <= 1500; ++step) {
    const double loss = step == 1200 ? 3.5 : 2.5 + 0.01 * std::sin(12.9898 * step);
    table += step == 1300 ? "1300,nan\n" : fmt::format("{},{}\n", step, loss);
  }
  const std::string file = write("curve.csv", table);
  const Finished result = headgate("spikes " + file);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("curve.csv: 1500 steps, 1 to 1500"));
  EXPECT_THAT(result.output, HasSubstr("losses that are not finite: 1 (line 1301), events of"));
  EXPECT_THAT(result.output, HasSubstr("1 of 499"));
  EXPECT_THAT(result.output, HasSubstr("needs more than 1000 values"));  // no gradient norms
  EXPECT_THAT(result.output, HasSubstr("MAD: 2"));

  const Finished json = headgate("spikes --json " + file + " " + file);
  const auto reports = nlohmann::json::parse(json.output);
  ASSERT_EQ(reports.size(), 2U);
  EXPECT_EQ(reports[1].at("events").at(0).at("start"), 1200);
  EXPECT_EQ(reports[1].at("scores").at("core").at("outliers"), 1);
  EXPECT_TRUE(reports[1].at("scores").at("core_grad_norm").at("value").is_null());
  EXPECT_EQ(reports[1].at("remarks").at("not_finite").at("count"), 1);

  expect_error("spikes " + write("bad.csv", "1,2\n2,x\n"), "bad.csv:2: loss is 'x'");
  expect_error("spikes " + write("empty.csv", ""), "empty.csv: no step");
}

TEST_F(CliTest, InspectAttentionDrawsMapsAndPrintsNumbers) {
  const std::string inspect = "inspect-attention --run " + train_small();
  const std::string svg = write("maps.svg", "an older picture");
  const Finished result =
      headgate(inspect + " --text 'one and two' --layers 0,2 --heads 1,3 --output " + svg);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("11 tokens"));
  EXPECT_THAT(result.output, HasSubstr("gate score"));
  const std::string picture = read_file(svg);
  EXPECT_TRUE(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
  for (const char* title : {">layer 0, head 1: first", ">layer 2, head 3: first"})
    EXPECT_THAT(picture, HasSubstr(title));

  const Finished json = headgate(inspect + " --layers all --json");
  const auto report = nlohmann::json::parse(json.output);
  EXPECT_EQ(report.at("text"), "Sparse gating mechanism mitigates attention sink.");
  EXPECT_EQ(report.at("tokens").at(0).at("text"), "S");
  double mean = 0;
  for (const auto& head : report.at("layers").at(1).at("heads"))
    mean += head.at("first_token").get<double>();
  mean /= static_cast<double>(report.at("layers").at(1).at("heads").size());
  EXPECT_NEAR(report.at("layers").at(1).at("first_token").get<double>(), mean, 1e-12);
  EXPECT_FALSE(fs::exists(folder / "run" / "attention_maps.svg"));
  EXPECT_EQ(headgate(inspect).exit_code, 0);
  EXPECT_TRUE(fs::exists(folder / "run" / "attention_maps.svg"));

  expect_error(inspect + " --text ''", "the text is empty");
  expect_error(inspect + " --layers 0,99", "found 99");
  expect_error(inspect + " --heads one", "expected numbers separated by commas");
  expect_error(inspect + " --heads 1,1", "twice");
  expect_error(inspect + " --file " + write("long.txt", std::string(300, 'a')), "300 tokens");
  expect_error(inspect + " --checkpoint step-9", "no such checkpoint");
  expect_error("inspect-attention --run " + in("none"), "no such run folder");
}

TEST_F(CliTest, InspectExpertsDrawsAMapAndPrintsNumbers) {
  const std::string run = write_expert_run(folder, three_looks()).string();
  const Finished result = headgate("inspect-experts " + run + " --out " + in("map.svg"));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("step 300"));
  EXPECT_THAT(result.output, ContainsRegex("layer 2 +3.78 +0.00 +1.6[0-9]+ +0.1[0-9]+ +1 "
                                           "+0.00 % +0.400 +3.25"));
  EXPECT_FALSE(fs::exists(folder / "run" / "experts.svg"));
  const std::string picture = read_file(folder / "map.svg");
  EXPECT_TRUE(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));

  const Finished earlier = headgate("inspect-experts " + run + " --step 200");
  EXPECT_EQ(earlier.exit_code, 0) << earlier.output;
  EXPECT_THAT(earlier.output, HasSubstr("step 200"));
  EXPECT_TRUE(fs::exists(folder / "run" / "experts.svg"));

  expect_error("inspect-experts " + run + " --step 7", "there are steps 100 to 300 every 100");
  expect_error("inspect-experts " + in("none"), "no such run folder");
  expect_error("inspect-experts " + folder.path().string(), "instruments.jsonl: there is no such");
  write_expert_run(folder, "{\"step\":1,\"layers\":[{}]}\n");
  expect_error("inspect-experts " + run, "no look at layers of experts");
  write_expert_run(folder, three_looks() + "{\n" + three_looks());
  expect_error("inspect-experts " + run, "instruments.jsonl:4: is not JSON");

  write_expert_run(folder, three_looks() + "{\"step\":400,");
  const Finished torn = headgate("inspect-experts " + run);
  EXPECT_EQ(torn.exit_code, 0) << torn.output;
  EXPECT_THAT(torn.output, HasSubstr("instruments.jsonl:4: half a line at the end"));
  EXPECT_THAT(torn.output, HasSubstr("step 300"));
}

TEST_F(CliTest, ProbeComparesWithTheGateAsItIs) {
  const std::string probe = "probe --run " + train_small();
  const Finished result = headgate(probe + " --gate-scale 0.5 --json");
  const auto report = nlohmann::json::parse(result.output);
  ASSERT_EQ(report.size(), 2U);
  EXPECT_EQ(report[0].at("gate_scale"), 1);
  EXPECT_EQ(report[0].at("difference"), 0);
  EXPECT_EQ(report[1].at("difference").get<double>(),
            report[1].at("loss").get<double>() - report[0].at("loss").get<double>());
  EXPECT_NE(report[1].at("difference"), 0);
  EXPECT_THAT(headgate(probe).output, HasSubstr("+0.00000"));
  EXPECT_NE(headgate(probe + " --gate-scale much").exit_code, 0);
}

TEST_F(CliTest, BenchMeasuresWhatALookCosts) {
  const Finished result = headgate(
      "bench " + tiny +
      " --set model.num_hidden_layers=2 --set model.hidden_size=32 --set model.vocab_size=64"
      " --set training.seq_len=32 --set training.micro_batch_size=2 --set name=small"
      " --set metrics.instrument_interval=20 --precision f32 --steps 1 --warmup 0 --instruments"
      " --json");
  const auto row = nlohmann::json::parse(result.output);
  EXPECT_EQ(row.at("size"), "small");
  const auto& look = row.at("look");
  EXPECT_EQ(look.at("interval"), 20);
  EXPECT_GT(look.at("details_ms"), 0);
  EXPECT_NEAR(look.at("share"),
              (look.at("ms").get<double>() / 20 + look.at("details_ms").get<double>() / 100) /
                  row.at("ms").get<double>(),
              1e-9);
  EXPECT_TRUE(look.at("ops_ms").contains("gate_scores"));
  EXPECT_FALSE(look.at("ops_ms").contains("attention_forward"));  // a step's, with a look or not
  EXPECT_FALSE(row.at("ops_ms").contains("gate_scores"));

  expect_error("bench --set training.seq_len=8", "--set training.seq_len=8");
  expect_error("bench " + tiny + " --instruments --set metrics.instrument_interval=0",
               "never looks at a step");
}

TEST_F(CliTest, UsageErrorsAreNotZero) {
  EXPECT_NE(headgate("").exit_code, 0);
  EXPECT_NE(headgate("train").exit_code, 0);
  EXPECT_NE(headgate("generate --run " + in("none") + " --prompt a").exit_code, 0);
  EXPECT_EQ(headgate("--help").exit_code, 0);
  expect_error("bench --size huge", "expected tiny, small, medium, tiny-moe or small-moe");
}

}  // namespace
}  // namespace hg::test
