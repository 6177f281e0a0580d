// Readers of files, given thousands of files that are almost right, under AddressSanitizer and
// UndefinedBehaviorSanitizer: each input is read, or refused with an Error. HEADGATE_FUZZ=1000000
// tries more of them than usual.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "core/file.h"
#include "data/bpe_tokenizer.h"
#include "data/token_file.h"
#include "data/tokenizer_json.h"
#include "fuzz/mutate.h"
#include "train/checkpoint/manifest.h"
#include "train/checkpoint/pieces.h"
#include "train/config.h"
#include "train/safetensors.h"

namespace hg::fuzz {
namespace {

namespace fs = std::filesystem;

int inputs_wanted(int usual) {
  const char* text = std::getenv("HEADGATE_FUZZ");
  return text == nullptr ? usual : std::atoi(text);
}

fs::path golden(const char* name) { return fs::path(HEADGATE_SOURCE_DIR) / name; }

class Fuzz : public testing::Test {
 protected:
  Fuzz() {
    std::string name = (fs::temp_directory_path() / "headgate-fuzz-XXXXXX").string();
    folder = ::mkdtemp(name.data());
  }
  ~Fuzz() override { fs::remove_all(folder); }

  /// Gives `read` so many mutations of the seeds. Most must be refused, and some may not be.
  void run(int inputs, const std::vector<std::string>& seeds,
           const std::function<void(const std::string&)>& read) {
    for (const std::string& seed : seeds) ASSERT_NO_THROW(read(seed));
    std::mt19937 random(1);
    int refused = 0, accepted = 0;
    for (int i = 0; i < inputs_wanted(inputs); ++i) {
      const std::string input = mutate(seeds, random);
      try {
        read(input);
        ++accepted;
      } catch (const Error& e) {
        ++refused;
        EXPECT_FALSE(std::string(e.what()).empty());
      } catch (const std::exception& e) {
        write_file("fuzz-input", input);
        FAIL() << "input " << i << ", kept as ./fuzz-input: not an Error of ours: " << e.what();
      }
    }
    EXPECT_GT(refused, 0);
    EXPECT_GT(accepted, 0);
  }

  /// A file with this content, without waiting for the disk.
  fs::path put(const char* name, const std::string& content) const {
    std::ofstream(folder / name, std::ios::binary) << content;
    return folder / name;
  }

  fs::path folder;
};

TEST_F(Fuzz, Safetensors) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const NamedTensor tensors[] = {{"a", ConstTensor(values.data(), DType::f32, {2, 3})},
                                 {"b", ConstTensor(values.data(), DType::bf16, {3})}};
  write_safetensors(folder / "seed", tensors, {{"format", "pt"}});
  run(6000, {read_file(folder / "seed")}, [&](const std::string& input) {
    const SafetensorsFile file(put("input", input));
    for (const std::string& name : file.names()) {
      const ConstTensor tensor = file.tensor(name);
      std::vector<std::byte> copy(static_cast<std::size_t>(tensor.bytes()));
      file.copy_to(name, Tensor(copy.data(), tensor.dtype(), tensor.shape()));
    }
  });
}

TEST_F(Fuzz, TokenFiles) {
  const std::string index(
      "MMIDIDX\0\0\1\0\0\0\0\0\0\0\4\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0"
      "\3\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0"
      "\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0",
      82);
  const std::string tokens("\x0a\0\0\0\x0b\0\0\0\x0c\0\0\0\x0d\0\0\0\x0e\0\0\0", 20);
  run(6000, {index}, [&](const std::string& input) {
    put("t.bin", tokens);
    put("t.idx", input);
    const TokenFile file((folder / "t").string(), 100);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(file.tokens()));
    file.copy(0, file.tokens(), ids.data());
    for (std::int64_t i = 0; i <= file.documents(); ++i) (void)file.document_begin(i);
    if (file.tokens() > 0) (void)file.document_of(file.tokens() - 1);
  });
}

TEST_F(Fuzz, Configs) {
  std::vector<std::string> seeds;
  for (const char* name : {"configs/tiny.yaml", "configs/moe-15b.yaml"})
    seeds.push_back(read_file(golden(name)));
  run(100, seeds, [](const std::string& input) { parse_config<RunConfig>(input, "input.yaml"); });
}

TEST_F(Fuzz, Tokenizers) {
  run(400, {read_file(golden("tests/golden/tokenizer_trained.json"))},
      [&](const std::string& input) {
        const BpeTokenizer tokenizer(read_tokenizer_json(put("tokenizer.json", input)), "input");
        const auto ids = tokenizer.encode("It's 42 degrees,\n  na\xc3\xafve \xf0\x9f\x98\x80!");
        (void)tokenizer.decode(ids);
      });
}

TEST_F(Fuzz, PiecesAndManifests) {
  const Pieces pieces{{"w", {Shape{6, 4}, Split::columns, 1, 2, 3, 5}}};
  run(6000, {pieces_to_json(pieces)}, [](const std::string& input) {
    for (const auto& [name, piece] : pieces_from_json(input, "input")) {
      if (piece.numel > 1 << 20) continue;
      std::int64_t sum = 0;
      for_piece_runs(piece, [&](const PieceRun& part) { sum += part.count; });
      EXPECT_EQ(sum, piece.numel);
    }
  });
  SavedFile file;
  file.name = "model.safetensors";
  file.bytes = 12;
  file.xxh3 = "0123456789abcdef";
  fs::create_directories(folder / "c");
  write_manifest(folder / "c", {.step = 3, .layout = "data 1", .processor = "x", .files = {file}});
  run(3000, {read_file(folder / "c" / kManifest)}, [&](const std::string& input) {
    put("c/manifest.json", input);
    (void)read_manifest(folder / "c");
  });
}

}  // namespace
}  // namespace hg::fuzz
