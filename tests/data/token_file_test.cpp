#include "data/token_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "core/file.h"
#include "core/parallel.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

const Documents kDocuments = {{10, 11, 12}, {13, 14}};

/// The pair that Megatron's format asks for the documents above: a valid start to corrupt.
struct Pair {
  std::string index = index_bytes(4, {3, 2}, {0, 12}, {0, 1, 2});
  std::string data = std::string("\x0a\0\0\0\x0b\0\0\0\x0c\0\0\0\x0d\0\0\0\x0e\0\0\0", 20);

  std::string write(const TempFolder& folder) const {
    write_file(folder / "tokens.idx", index);
    write_file(folder / "tokens.bin", data);
    return (folder / "tokens").string();
  }
};

std::vector<std::int32_t> read_all(const TokenFile& file) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(file.tokens()));
  file.copy(0, file.tokens(), ids.data());
  return ids;
}

TEST(TokenFile, ReadsTokensAndDocuments) {
  const TempFolder folder;
  const TokenFile file(Pair().write(folder), 15);
  EXPECT_EQ(file.tokens(), 5);
  EXPECT_EQ(file.documents(), 2);
  EXPECT_EQ(read_all(file), (std::vector<std::int32_t>{10, 11, 12, 13, 14}));
  EXPECT_EQ(file.document_begin(0), 0);
  EXPECT_EQ(file.document_begin(1), 3);
  EXPECT_EQ(file.document_begin(2), 5);
  std::int32_t ids[2];
  file.copy(2, 2, ids);
  EXPECT_EQ(ids[0], 12);
  EXPECT_EQ(ids[1], 13);
}

TEST(TokenFile, ReadsEveryIntegerType) {
  const TempFolder folder;
  const std::vector<std::pair<int, int>> sizes = {{1, 1}, {2, 1}, {3, 2}, {4, 4}, {5, 8}, {8, 2}};
  for (const auto& [type, size] : sizes) {
    Pair pair{.index = index_bytes(type, {2, 1}, {0, 2 * size}, {0, 1, 2}), .data = ""};
    for (const char id : {100, 0, 127}) {
      pair.data += id;
      pair.data.append(static_cast<std::size_t>(size) - 1, '\0');
    }
    EXPECT_EQ(read_all(TokenFile(pair.write(folder), 128)),
              (std::vector<std::int32_t>{100, 0, 127}));
    const std::string error = error_of([&] { TokenFile(pair.write(folder), 127); });
    EXPECT_NE(error.find("token 2 is id 127, expected 0 to 126"), std::string::npos) << error;
  }
}

TEST(TokenFile, DocumentsMayHaveSeveralSequencesOrNone) {
  const TempFolder folder;
  // Sequences of 2, 0, 3, 1 tokens; documents: two sequences, none, an empty range of them, two.
  Pair pair;
  pair.index = index_bytes(1, {2, 0, 3, 1}, {0, 2, 2, 5}, {0, 2, 2, 4});
  pair.data = "abcdef";
  const TokenFile file(pair.write(folder), 128);
  EXPECT_EQ(file.documents(), 3);
  std::vector<std::int64_t> begins, documents;
  for (std::int64_t d = 0; d <= 3; ++d) begins.push_back(file.document_begin(d));
  for (std::int64_t t = 0; t < 6; ++t) documents.push_back(file.document_of(t));
  EXPECT_EQ(begins, (std::vector<std::int64_t>{0, 2, 2, 6}));
  EXPECT_EQ(documents, (std::vector<std::int64_t>{0, 0, 2, 2, 2, 2}));
}

TEST(TokenFile, EveryTokenIsInTheDocumentThatHoldsIt) {
  const TempFolder folder;
  const Documents documents = counting_documents({0, 1, 7, 0, 0, 3, 2, 11, 1, 0});
  const TokenFile file(write_tokens(folder, documents, 100), 100);
  for (std::int64_t d = 0; d < file.documents(); ++d) {
    for (std::int64_t t = file.document_begin(d); t < file.document_begin(d + 1); ++t) {
      EXPECT_EQ(file.document_of(t), d);
    }
  }
}

TEST(TokenFile, MayHoldNothing) {
  const TempFolder folder;
  const TokenFile file(write_tokens(folder, {}, 10), 10);
  EXPECT_EQ(file.tokens(), 0);
  EXPECT_EQ(file.documents(), 0);
  EXPECT_THROW(file.document_of(0), Error);
}

TEST(TokenFile, RefusesWhatIsOutside) {
  const TempFolder folder;
  const TokenFile file(Pair().write(folder), 15);
  std::int32_t ids[8];
  EXPECT_THROW(file.copy(-1, 2, ids), Error);
  EXPECT_THROW(file.copy(4, 2, ids), Error);
  EXPECT_THROW(file.copy(0, -1, ids), Error);
  EXPECT_THROW(file.document_begin(-1), Error);
  EXPECT_THROW(file.document_begin(3), Error);
  EXPECT_THROW(file.document_of(5), Error);
}

struct Corruption {
  std::string name;
  std::function<void(Pair&)> apply;
  std::string error;  // a part of it
};
void PrintTo(const Corruption& corruption, std::ostream* out) { *out << corruption.name; }

class TokenFileCorruption : public testing::TestWithParam<Corruption> {};

TEST_P(TokenFileCorruption, IsAnErrorThatNamesIt) {
  const TempFolder folder;
  Pair pair;
  GetParam().apply(pair);
  const std::string prefix = pair.write(folder);
  const std::string error = error_of([&] { TokenFile(prefix, 15); });
  EXPECT_EQ(error.find(prefix), 0U) << error;
  EXPECT_NE(error.find(GetParam().error), std::string::npos) << error;
}

/// Replaces bytes of the index: counts lie at 18 and 26, lengths at 34, offsets at 42, bounds
/// at 58.
std::function<void(Pair&)> index_byte(std::size_t at, int value) {
  return [at, value](Pair& pair) { pair.index[at] = static_cast<char>(value); };
}
std::function<void(Pair&)> index_size(std::size_t size) {
  return [size](Pair& pair) { pair.index.resize(size); };
}
std::function<void(Pair&)> data_size(std::size_t size) {
  return [size](Pair& pair) { pair.data.resize(size); };
}

INSTANTIATE_TEST_SUITE_P(
    All, TokenFileCorruption,
    testing::ValuesIn(std::vector<Corruption>{
        {"EmptyIndex", index_size(0), "has 0 bytes, expected at least the 34 of a header"},
        {"HalfAHeader", index_size(33), "has 33 bytes, expected at least the 34 of a header"},
        {"Magic", index_byte(0, 'X'), "does not begin with MMIDIDX"},
        {"MagicPadding", index_byte(8, 1), "does not begin with MMIDIDX"},
        {"Version", index_byte(9, 2), "has version 2, expected 1"},
        {"TypeZero", index_byte(17, 0), "has element type 0"},
        {"TypeFloat64", index_byte(17, 6), "has element type 6"},
        {"TypeFloat32", index_byte(17, 7), "has element type 7"},
        {"TypeUnknown", index_byte(17, 9), "has element type 9"},
        {"TypeWider", index_byte(17, 5), "begins at byte 12"},
        {"MoreSequences", index_byte(18, 3), "has 82 bytes, expected 94 for 3 sequences"},
        {"HugeSequences", index_byte(25, 0x40), "too few for the 4611686018427387906 sequences"},
        {"MoreDocuments", index_byte(26, 4), "has 82 bytes, expected 90 for 2 sequences and 4"},
        {"HugeDocuments", index_byte(33, 0x20), "and 2305843009213693955 document bounds"},
        {"ShortIndex", index_size(81), "has 81 bytes, expected 82"},
        {"LongIndex", index_size(83), "has 83 bytes, expected 82"},
        {"Multimodal", index_size(84), "holds sequence modes"},
        {"NegativeLength", index_byte(37, 0x80), "sequence 0 has length -2147483645"},
        {"LongerSequence", index_byte(34, 4), "sequence 1 begins at byte 12"},
        {"LongerLastSequence", index_byte(38, 3), "has 20 bytes, expected 24 for 6 tokens of 4"},
        {"FirstOffset", index_byte(42, 4), "sequence 0 begins at byte 4"},
        {"Offset", index_byte(50, 16), "sequence 1 begins at byte 16"},
        {"NegativeOffset", index_byte(57, 0x80), "sequence 1 begins at byte -9223372036854775796"},
        {"ShortData", data_size(16), "has 16 bytes, expected 20 for 5 tokens of 4"},
        {"OddData", data_size(19), "has 19 bytes, expected 20"},
        {"LongData", data_size(24), "has 24 bytes, expected 20"},
        {"NoData", data_size(0), "has 0 bytes, expected 20"},
        {"FirstBound", index_byte(58, 1), "the first document begins at sequence 1, expected 0"},
        {"BoundBehind", index_byte(66, 3), "document bound 1 is sequence 3, expected 0 to 2"},
        {"BoundBefore",
         [](Pair& pair) {
           pair.index = index_bytes(4, {3, 2}, {0, 12}, {0, 2, 1, 2});
         },
         "document bound 2 is sequence 1, expected 2 to 2"},
        {"LastBound", index_byte(74, 1), "the last document ends at sequence 1, expected 2"},
        {"NoBounds",
         [](Pair& pair) {
           pair.index = index_bytes(4, {3, 2}, {0, 12}, {});
         },
         "has no document bounds"},
        {"IdTooLarge", [](Pair& pair) { pair.data[8] = 15; },
         "token 2 is id 15, expected 0 to 14 in a vocabulary of 15"},
        {"IdNegative", [](Pair& pair) { pair.data[19] = static_cast<char>(0xff); },
         "token 4 is id -16777202"},
        {"FirstOfSeveralIds", [](Pair& pair) { pair.data[13] = pair.data[9] = pair.data[17] = 1; },
         "token 2 is id 268"},
    }),
    [](const auto& test) { return test.param.name; });

TEST(TokenFile, NamesAMissingFile) {
  const TempFolder folder;
  const std::string prefix = Pair().write(folder);
  std::filesystem::remove(prefix + ".bin");
  std::string error = error_of([&] { TokenFile(prefix, 15); });
  EXPECT_NE(error.find(prefix + ".bin: No such file"), std::string::npos) << error;
  std::filesystem::remove(prefix + ".idx");
  error = error_of([&] { TokenFile(prefix, 15); });
  EXPECT_NE(error.find(prefix + ".idx: No such file"), std::string::npos) << error;
}

TEST(TokenFile, FindsTheFirstBadIdForAnyThreadCount) {
  const TempFolder folder;
  const int before = num_threads();
  std::vector<std::int32_t> ids(3'000'000, 7);
  ids[1'500'000] = ids[1'500'001] = ids[2'900'000] = 1'000'000;
  const std::string prefix = write_tokens(folder, {ids}, 1'000'001);
  for (const int threads : {1, 4}) {
    set_num_threads(threads);
    const std::string error = error_of([&] { TokenFile(prefix, 70'000); });
    EXPECT_NE(error.find("token 1500000 is id 1000000"), std::string::npos) << error;
  }
  set_num_threads(before);
}

/// A sparse file: only what is written takes room on the disk.
void write_sparse(const std::filesystem::path& path, std::uint64_t size, std::uint64_t at,
                  const std::string& bytes) {
  write_file(path, "");
  std::filesystem::resize_file(path, size);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

TEST(TokenFile, OffsetsAndTokensGoBeyond32Bits) {
  const TempFolder folder;
  constexpr std::int64_t kLength = 2'000'000'000;  // three such documents: 6e9 tokens of one byte
  const std::string prefix = (folder / "tokens").string();
  write_file(prefix + ".idx",
             index_bytes(1, {kLength, kLength, kLength}, {0, kLength, 2 * kLength}, {0, 1, 2, 3}));
  write_sparse(prefix + ".bin", 3 * kLength, (std::uint64_t{1} << 32) - 2, "abcd");
  const TokenFile file(prefix, 128, TokenFile::IdCheck::none);
  EXPECT_EQ(file.tokens(), 6'000'000'000);
  EXPECT_EQ(file.document_begin(2), 4'000'000'000);
  EXPECT_EQ(file.document_of(4'000'000'000), 2);
  EXPECT_EQ(file.document_of(3'999'999'999), 1);
  std::vector<std::int32_t> ids(6);
  file.copy((std::int64_t{1} << 32) - 3, 6, ids.data());
  EXPECT_EQ(ids, (std::vector<std::int32_t>{0, 'a', 'b', 'c', 'd', 0}));
}

TEST(TokenFile, BytesGoBeyond32BitsOfWideIds) {
  const TempFolder folder;
  constexpr std::int64_t kLength = 700'000'000;
  const std::string prefix = (folder / "tokens").string();
  write_file(prefix + ".idx", index_bytes(4, {kLength, kLength}, {0, 4 * kLength}, {0, 1, 2}));
  write_sparse(prefix + ".bin", 8 * kLength, std::uint64_t{1} << 32, "abcd");
  const TokenFile file(prefix, std::int64_t{1} << 31, TokenFile::IdCheck::none);
  std::vector<std::int32_t> ids(3);
  file.copy((std::int64_t{1} << 30) - 1, 3, ids.data());
  EXPECT_EQ(ids, (std::vector<std::int32_t>{0, 0x64636261, 0}));
}

TEST(TokenFile, SomeIdsAreComparedAtOnceAndOthersWhereTheyAreCopied) {
  const TempFolder folder;
  const std::string prefix = (folder / "tokens").string();
  constexpr std::int64_t kTokens = 5'000'000;  // between 256 blocks of 4096 there are gaps
  const auto write = [&](std::uint64_t bad) {
    write_file(prefix + ".idx", index_bytes(1, {kTokens}, {0}, {0, 1}));
    write_sparse(prefix + ".bin", kTokens, bad, "\x64\x63");
  };
  const auto open = [&] { return TokenFile(prefix, 100, TokenFile::IdCheck::some); };
  constexpr std::uint64_t kLast = kTokens - 2;
  write(kLast);
  EXPECT_THAT(error_of([&] { open(); }),
              HasSubstr("tokens.bin: token 4999998 is id 100, expected 0 to 99 in a vocabulary"));
  write(10'000);
  const TokenFile file = open();
  std::vector<std::int32_t> ids(3);
  file.copy(10'001, 3, ids.data());
  EXPECT_EQ(ids, (std::vector<std::int32_t>{99, 0, 0}));
  EXPECT_THAT(error_of([&] { file.copy(9'999, 3, ids.data()); }),
              HasSubstr("tokens.bin: token 10000 is id 100, expected 0 to 99 in a vocabulary"));
}

TEST(TokenFile, FingerprintIsOfTheContentAlone) {
  const TempFolder here, there;
  const TokenFile file(write_tokens(here, kDocuments, 100'000), 100'000);
  EXPECT_EQ(file.fingerprint(),
            TokenFile(write_tokens(there, kDocuments, 100'000), 200'000).fingerprint());

  const TempFolder other_id, other_bounds, other_type;
  EXPECT_NE(
      file.fingerprint(),
      TokenFile(write_tokens(other_id, {{10, 11, 12}, {13, 15}}, 100'000), 100'000).fingerprint());
  EXPECT_NE(file.fingerprint(),
            TokenFile(write_tokens(other_bounds, {{10, 11}, {12, 13, 14}}, 100'000), 100'000)
                .fingerprint());
  EXPECT_NE(file.fingerprint(),
            TokenFile(write_tokens(other_type, kDocuments, 100), 100).fingerprint());
}

TEST(TokenFile, FingerprintOfALargeFileSeesItsEnds) {
  std::vector<std::int32_t> ids(1'000'000, 3);
  const auto fingerprint = [&] {
    const TempFolder folder;
    return TokenFile(write_tokens(folder, {ids}, 100'000), 100'000).fingerprint();
  };
  const std::uint64_t before = fingerprint();
  for (const std::size_t changed : {std::size_t{0}, ids.size() - 1}) {
    ids[changed] = 4;
    EXPECT_NE(fingerprint(), before) << changed;
    ids[changed] = 3;
  }
  EXPECT_EQ(fingerprint(), before);
}

}  // namespace
}  // namespace hg::test
