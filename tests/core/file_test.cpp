#include "core/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <vector>

#include "core/check.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

/// Names in a folder.
std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

/// No file of this process grows beyond a limit: stands for a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

template <class Fn>
std::string error_of(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(AtomicFile, AppearsOnlyWithItsCommit) {
  const TempFolder folder;
  write_file(folder / "a.json", "old");
  {
    AtomicFile file(folder / "a.json");
    file.write("ne");
    file.write("w");
    EXPECT_EQ(read_file(folder / "a.json"), "old");
    file.commit();
  }
  EXPECT_EQ(read_file(folder / "a.json"), "new");
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a.json"});
}

TEST(AtomicFile, LeavesNothingWithoutACommit) {
  const TempFolder folder;
  { AtomicFile(folder / "a").write("text"); }
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(AtomicFile, MixesSmallAndLargePiecesInOrder) {
  const TempFolder folder;
  const std::string large(3 << 20, 'x');
  std::string expected;
  AtomicFile file(folder / "a");
  for (int round = 0; round < 3; ++round) {
    for (const std::string& piece : {std::string("ab"), large, std::string(700'000, 'y')}) {
      file.write(piece);
      expected += piece;
    }
  }
  file.commit();
  EXPECT_TRUE(read_file(folder / "a") == expected);
}

TEST(AtomicFile, IsNotHinderedByWhatAKilledProcessLeft) {
  const TempFolder folder;
  write_file(folder / "a.tmp0", "half");
  write_file(folder / "a", "whole");
  EXPECT_EQ(read_file(folder / "a"), "whole");
  EXPECT_EQ(read_file(folder / "a.tmp0"), "half");
}

TEST(AtomicFile, AFullDiskIsAnErrorAndKeepsTheOldFile) {
  const TempFolder folder;
  write_file(folder / "a", "old");
  for (const std::size_t size : {std::size_t{8192}, std::size_t{4} << 20}) {
    const std::string error = error_of([&] {
      const FileSizeLimit limit(4096);
      write_file(folder / "a", std::string(size, 'x'));
    });
    EXPECT_NE(error.find((folder / "a").string()), std::string::npos) << error;
    EXPECT_NE(error.find("File too large"), std::string::npos) << error;
  }
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(names_in(folder.path()).size(), 1U);
}

TEST(AtomicFile, AMissingFolderIsAnError) {
  const TempFolder folder;
  const std::string error = error_of([&] { write_file(folder / "no" / "a", ""); });
  EXPECT_NE(error.find("No such file or directory"), std::string::npos) << error;
}

TEST(AtomicFile, CannotBeUsedAfterItsCommit) {
  const TempFolder folder;
  AtomicFile file(folder / "a");
  file.commit();
  EXPECT_THROW(file.write("x"), Error);
  EXPECT_THROW(file.commit(), Error);
}

TEST(AppendFile, AppendsToWhatIsThere) {
  const TempFolder folder;
  AppendFile(folder / "log", AppendFile::Open::create_or_append).write("one\n");
  AppendFile(folder / "log", AppendFile::Open::create_or_append).write("two\n");
  EXPECT_EQ(read_file(folder / "log"), "one\ntwo\n");
  EXPECT_THROW(AppendFile(folder / "log", AppendFile::Open::create_new), Error);
}

TEST(AppendFile, CutsBackARecordThatDoesNotFit) {
  const TempFolder folder;
  AppendFile file(folder / "log", AppendFile::Open::create_new);
  file.write("one\n");
  {
    const FileSizeLimit limit(4096);
    EXPECT_THROW(file.write(std::string(5000, 'x')), Error);
  }
  file.write("two\n");
  EXPECT_EQ(read_file(folder / "log"), "one\ntwo\n");
}

TEST(AppendFile, AFullDeviceIsAnError) {
  AppendFile file("/dev/full", AppendFile::Open::create_or_append);
  const std::string error = error_of([&] { file.write("x"); });
  EXPECT_NE(error.find("/dev/full"), std::string::npos) << error;
  EXPECT_NE(error.find("No space left on device"), std::string::npos) << error;
}

TEST(ReadFile, ReadsFilesWithoutASizeAndNamesMissingOnes) {
  EXPECT_NE(read_file("/proc/self/status").find("VmRSS"), std::string::npos);
  const TempFolder folder;
  EXPECT_NE(error_of([&] { read_file(folder / "no"); }).find((folder / "no").string()),
            std::string::npos);
  EXPECT_NE(error_of([&] { read_file(folder.path()); }).find("Is a directory"), std::string::npos);
}

TEST(MappedFile, ShowsTheBytes) {
  const TempFolder folder;
  write_file(folder / "a", "abc");
  write_file(folder / "empty", "");
  MappedFile file(folder / "a");
  ASSERT_EQ(file.bytes().size(), 3U);
  EXPECT_EQ(file.bytes()[2], std::byte{'c'});
  const MappedFile moved = std::move(file);
  EXPECT_EQ(moved.bytes()[0], std::byte{'a'});
  EXPECT_TRUE(MappedFile(folder / "empty").bytes().empty());
  EXPECT_THROW(MappedFile(folder.path()), Error);
}

}  // namespace
}  // namespace hg::test
