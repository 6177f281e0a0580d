#include "data/packer.h"

#include <gtest/gtest.h>

#include "core/random.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

using Ids = std::vector<std::int32_t>;

TEST(Packer, MasksTheEndsOfDocuments) {
  const TempFolder folder;
  const TokenFile file(write_tokens(folder, {{10, 11, 12}, {13, 14}, {15, 16, 17, 18}}, 100), 100);
  HostBatch batch(8);
  const std::vector<Window> windows = {{1, 4}, {5, 3}};
  pack(file, windows, batch);
  EXPECT_EQ(batch.tokens, (Ids{11, 12, 13, 14, 15, 16, 17}));
  EXPECT_EQ(batch.targets, (Ids{12, -1, 14, -1, 16, 17, 18}));  // 18 lies behind its window
  EXPECT_EQ(batch.positions, (Ids{0, 1, 0, 1, 0, 1, 2}));
  EXPECT_EQ(batch.documents, (Ids{0, 2, 4, 7}));
}

TEST(Packer, TheLastTokenOfTheFileHasNoTarget) {
  const TempFolder folder;
  const TokenFile file(write_tokens(folder, {{10, 11, 12}}, 100), 100);
  HostBatch batch(3);
  pack(file, std::vector<Window>{{0, 3}}, batch);
  EXPECT_EQ(batch.targets, (Ids{11, 12, -1}));
}

TEST(Packer, AWindowInsideADocumentBeginsANewOne) {
  const TempFolder folder;
  const TokenFile file(write_tokens(folder, counting_documents({20}), 100), 100);
  HostBatch batch(8);
  pack(file, std::vector<Window>{{4, 4}, {8, 4}}, batch);
  EXPECT_EQ(batch.targets, (Ids{5, 6, 7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(batch.positions, (Ids{0, 1, 2, 3, 0, 1, 2, 3}));
  EXPECT_EQ(batch.documents, (Ids{0, 4, 8}));
}

TEST(Packer, AgreesWithTheDefinitionTokenByToken) {
  const TempFolder folder;
  const RandomStream random(3, "packer test");
  std::vector<int> lengths;
  for (std::uint64_t i = 0; i < 60; ++i) lengths.push_back(static_cast<int>(random.bits(i) % 7));
  const TokenFile file(write_tokens(folder, counting_documents(lengths), 1000), 1000);
  HostBatch batch(30);
  for (std::int64_t begin = 0; begin + 10 <= file.tokens(); ++begin) {
    const std::vector<Window> windows = {{begin, 10}, {0, 10}, {begin, 10}};
    pack(file, windows, batch);
    ASSERT_EQ(batch.tokens.size(), 30U);
    std::size_t at = 0;
    Ids documents;
    for (const Window& window : windows) {
      for (std::int64_t token = window.begin; token < window.begin + 10; ++token, ++at) {
        const std::int64_t document = file.document_of(token);
        const bool last = token + 1 == file.document_begin(document + 1);
        const std::int64_t position =
            std::min(token - window.begin, token - file.document_begin(document));
        EXPECT_EQ(batch.tokens[at], token);
        EXPECT_EQ(batch.targets[at], last ? -1 : token + 1);
        EXPECT_EQ(batch.positions[at], position);
        if (position == 0) documents.push_back(static_cast<std::int32_t>(at));
      }
    }
    documents.push_back(30);
    EXPECT_EQ(batch.documents, documents);
  }
}

TEST(Packer, ViewsWhatItHolds) {
  const TempFolder folder;
  const TokenFile file(write_tokens(folder, counting_documents({3, 9}), 100), 100);
  HostBatch batch(8);
  pack(file, std::vector<Window>{{0, 8}}, batch);
  const Batch view = batch.view();
  EXPECT_EQ(view.tokens.shape(), Shape{8});
  EXPECT_EQ(view.targets.shape(), Shape{8});
  EXPECT_EQ(view.positions.shape(), Shape{8});
  EXPECT_EQ(view.documents.shape(), Shape{3});
  EXPECT_EQ(view.documents.as<std::int32_t>()[1], 3);
  EXPECT_EQ(view.tokens.data(), batch.tokens.data());
  EXPECT_EQ(view.targets.data(), batch.targets.data());
  EXPECT_EQ(view.positions.data(), batch.positions.data());
}

TEST(Packer, NeverAllocatesAgain) {
  const TempFolder folder;
  const TokenFile file(
      write_tokens(folder, counting_documents({20, 1, 1, 1, 1, 1, 1, 1, 1, 1}), 100), 100);
  HostBatch batch(8);
  const auto addresses = [&] {
    return std::vector{batch.tokens.data(), batch.targets.data(), batch.positions.data(),
                       batch.documents.data()};
  };
  const auto before = addresses();
  pack(file, std::vector<Window>{{0, 2}}, batch);
  pack(file, std::vector<Window>{{21, 8}}, batch);  // a document per token
  EXPECT_EQ(batch.documents.size(), 9U);
  EXPECT_EQ(addresses(), before);
}

TEST(Packer, RefusesWhatDoesNotFit) {
  const TempFolder folder;
  const TokenFile file(write_tokens(folder, counting_documents({20}), 100), 100);
  HostBatch batch(8);
  const std::string error = error_of([&] {
    pack(file, std::vector<Window>{{0, 5}, {5, 4}}, batch);
  });
  EXPECT_NE(error.find("9 tokens in a batch for 8"), std::string::npos) << error;
  EXPECT_THROW(pack(file, std::vector<Window>{{18, 3}}, batch), Error);
  EXPECT_THROW(pack(file, std::vector<Window>{{0, 0}}, batch), Error);
  EXPECT_THROW(HostBatch(0), Error);
}

}  // namespace
}  // namespace hg::test
