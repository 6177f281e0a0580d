// How parts of parameters are named in files, and found again.
#include "train/checkpoint/pieces.h"

#include <gmock/gmock.h>

#include <numeric>

#include "support/temp_folder.h"
#include "train/checkpoint/saved_tensors.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

/// Every element's place in the whole parameter, by its place in the piece.
std::vector<std::int64_t> places(const Piece& piece) {
  std::vector<std::int64_t> result;
  for_piece_runs(piece, [&](const PieceRun& run) {
    EXPECT_EQ(run.begin, std::ssize(result));
    for (std::int64_t i = 0; i < run.count; ++i) result.push_back(run.whole + i);
  });
  return result;
}

TEST(Pieces, RunsOfASmallMatrixByHand) {
  const Shape whole{4, 4};
  using Places = std::vector<std::int64_t>;
  EXPECT_EQ(places({.whole = whole, .numel = 16}).back(), 15);
  EXPECT_EQ(places({whole, Split::rows, 1, 2, 0, 8}), (Places{8, 9, 10, 11, 12, 13, 14, 15}));
  EXPECT_EQ(places({whole, Split::columns, 1, 2, 0, 8}), (Places{2, 3, 6, 7, 10, 11, 14, 15}));
  EXPECT_EQ(places({whole, Split::halves, 1, 2, 0, 8}), (Places{4, 5, 6, 7, 12, 13, 14, 15}));
  EXPECT_EQ(places({whole, Split::columns, 0, 2, 3, 4}), (Places{5, 8, 9, 12}));
}

TEST(Pieces, TextAndBack) {
  const Pieces pieces{{"a", {Shape{6, 4}, Split::halves, 2, 3, 1, 5}},
                      {"b", {Shape{7}, Split::none, 0, 1, 3, 4}}};
  const Pieces back = pieces_from_json(pieces_to_json(pieces), "file");
  ASSERT_EQ(back.size(), 2U);
  EXPECT_EQ(places(back.at("a")), places(pieces.at("a")));
  EXPECT_EQ(places(back.at("b")), (std::vector<std::int64_t>{3, 4, 5, 6}));
}

std::string error_of(const std::string& text) {
  try {
    pieces_from_json(text, "x.safetensors");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Pieces, WhatIsNoPieceIsNamed) {
  const auto with = [](const char* fields) { return fmt::format(R"({{"w": {{{}}}}})", fields); };
  EXPECT_THAT(error_of("[]"), HasSubstr("x.safetensors: headgate.pieces '' is not a piece"));
  EXPECT_THAT(error_of(with(R"("whole": [4, 4])")), HasSubstr("'w' is not a piece"));
  EXPECT_THAT(
      error_of(with(
          R"("whole": [4, -4], "split": "rows", "share": 0, "shares": 2, "begin": 0, "numel": 1)")),
      HasSubstr("the shape [4,-4]"));
  EXPECT_THAT(
      error_of(with(
          R"("whole": [4, 4], "split": "rows", "share": 2, "shares": 2, "begin": 0, "numel": 1)")),
      HasSubstr("share 2 of 2"));
  EXPECT_THAT(
      error_of(with(
          R"("whole": [4, 4], "split": "rows", "share": 0, "shares": 3, "begin": 0, "numel": 1)")),
      HasSubstr("share 0 of 3 of [4, 4] by rows"));
  EXPECT_THAT(
      error_of(with(
          R"("whole": [4], "split": "columns", "share": 0, "shares": 2, "begin": 0, "numel": 1)")),
      HasSubstr("share 0 of 2"));
  EXPECT_THAT(
      error_of(with(
          R"("whole": [4, 4], "split": "rows", "share": 0, "shares": 2, "begin": 5, "numel": 4)")),
      HasSubstr("4 elements from element 5 of 8"));
  EXPECT_THAT(
      error_of(with(
          R"("whole": [4, 4], "split": "spiral", "share": 0, "shares": 1, "begin": 0, "numel": 1)")),
      HasSubstr("the unknown split 'spiral'"));
}

/// Files of `ranks` whose pieces are `piece(rank)` of one tensor with the values 0, 1, 2, ...
class SavedTensorsTest : public testing::Test {
 protected:
  void write(int rank, const Piece& piece) {
    std::vector<float> values;
    for (const std::int64_t place : places(piece)) values.push_back(static_cast<float>(place));
    const NamedTensor tensor{"w", ConstTensor(values.data(), DType::f32, {std::ssize(values)})};
    write_safetensors(folder / fmt::format("model-rank{:05}.safetensors", rank), {&tensor, 1},
                      {{kPiecesKey, pieces_to_json({{"w", piece}})}});
  }
  static std::vector<float> counting(std::int64_t n) {
    std::vector<float> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), 0.0F);
    return all;
  }
  TempFolder folder;
};

TEST_F(SavedTensorsTest, AnyCutIsPutTogetherAndCutAnew) {
  const Shape whole{6, 4};
  for (int rank = 0; rank < 2; ++rank) {  // each share in two runs, as ranks of ZeRO hold them
    write(2 * rank, {whole, Split::columns, rank, 2, 0, 5});
    write(2 * rank + 1, {whole, Split::columns, rank, 2, 5, 7});
  }
  const SavedTensors saved(folder.path(), "model");
  EXPECT_EQ(saved.whole("w"), counting(24));
  for (const Piece& piece :
       {Piece{whole, Split::rows, 2, 3, 1, 6}, Piece{whole, Split::halves, 1, 3, 0, 8},
        Piece{whole, Split::none, 0, 1, 0, 24}}) {
    std::vector<float> found(static_cast<std::size_t>(piece.numel), -1);
    saved.read("w", piece, [&](std::int64_t begin, const ConstTensor& values) {
      std::copy_n(values.as<float>(), values.numel(), found.data() + begin);
    });
    const auto expected = places(piece);
    EXPECT_EQ(found, std::vector<float>(expected.begin(), expected.end()));
  }
}

TEST_F(SavedTensorsTest, AMissingRankIsNoticed) {
  const Shape whole{6, 4};
  write(0, {whole, Split::rows, 0, 3, 0, 8});
  write(2, {whole, Split::rows, 2, 3, 0, 8});
  const SavedTensors saved(folder.path(), "model");
  try {
    saved.whole("w");
    ADD_FAILURE() << "nothing was missed";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("element 8 of tensor 'w' is in none of the files"));
  }
}

}  // namespace
}  // namespace hg::test
