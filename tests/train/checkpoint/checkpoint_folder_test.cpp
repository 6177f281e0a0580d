// What counts as a checkpoint, and what is said of one that was damaged.
#include "train/checkpoint/checkpoint_folder.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <fstream>

#include "core/file.h"
#include "support/saved_run.h"

namespace hg::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class CheckpointFolder : public testing::Test {
 protected:
  void save(std::int64_t step) { save_run(folder, small_run_config(), step); }
  fs::path path(std::int64_t step) const { return all() / checkpoint_name(step); }
  fs::path all() const { return folder / "run" / "checkpoints"; }

  /// Flips a bit in the middle of a file.
  static void flip(const fs::path& file) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(fs::file_size(file) / 2);
    stream.seekg(middle);
    const char byte = static_cast<char>(stream.get() ^ 1);
    stream.seekp(middle);
    stream.put(byte);
  }
  static std::string damage_of(const fs::path& checkpoint, Inspect depth = Inspect::all) {
    try {
      inspect_checkpoint(checkpoint, depth);
    } catch (const DamagedCheckpoint& e) {
      return e.what();
    }
    return "";
  }

  TempFolder folder;
};

TEST_F(CheckpointFolder, TheNewestUndamagedOneIsFound) {
  EXPECT_FALSE(newest_checkpoint(all()));
  for (const std::int64_t step : {5, 10, 15}) save(step);
  EXPECT_EQ(newest_checkpoint(all()), path(15));
  EXPECT_EQ(fs::read_symlink(all() / "latest"), "step-00000015");

  flip(path(15) / "model.safetensors");
  fs::resize_file(path(10) / "optimizer.safetensors", 1000);
  std::vector<std::string> skipped;
  const auto newest =
      newest_checkpoint(all(), Inspect::all, nullptr,
                        [&](const fs::path&, const std::string& why) { skipped.push_back(why); });
  EXPECT_EQ(newest, path(5));
  ASSERT_EQ(skipped.size(), 2U);
  EXPECT_THAT(skipped[0], HasSubstr("step-00000015/model.safetensors: its checksum is "));
  EXPECT_THAT(skipped[1], HasSubstr("step-00000010/optimizer.safetensors: has 1000 bytes, the "
                                    "manifest says "));
}

TEST_F(CheckpointFolder, EveryBitIsLookedAt) {
  save(1);
  EXPECT_EQ(damage_of(path(1)), "");
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "config.yaml",
                           "state.json", "manifest.json"}) {
    flip(path(1) / file);
    // A checksum that changed in the manifest is one of another file.
    EXPECT_THAT(damage_of(path(1)), HasSubstr(file == std::string(kManifest) ? "" : file));
    EXPECT_NE(damage_of(path(1)), "") << file;
    flip(path(1) / file);
  }
  EXPECT_EQ(damage_of(path(1)), "");
  flip(path(1) / "optimizer.safetensors");  // which generation does not read
  EXPECT_EQ(damage_of(path(1), Inspect::weights), "");
}

TEST_F(CheckpointFolder, MissingFilesAndOtherVersionsAreNamed) {
  save(1);
  fs::rename(path(1) / "state.json", path(1) / "gone.json");
  EXPECT_THAT(damage_of(path(1)), HasSubstr("state.json: is missing"));
  fs::rename(path(1) / "gone.json", path(1) / "state.json");

  std::string manifest = read_file(path(1) / kManifest);
  manifest.replace(manifest.find("\"version\": 1"), 12, "\"version\": 7");
  write_file(path(1) / kManifest, manifest);
  EXPECT_THAT(damage_of(path(1)),
              HasSubstr("manifest.json: is not a manifest: version 7, expected 1"));
  fs::remove(path(1) / kManifest);
  EXPECT_THAT(damage_of(path(1)), HasSubstr("there is no manifest.json: not a whole checkpoint"));
}

TEST_F(CheckpointFolder, ACheckpointUnderAnotherNameIsNotTaken) {
  save(3);
  fs::rename(path(3), path(8));
  EXPECT_FALSE(newest_checkpoint(all()));
}

/// While it lives, this process can open no file.
class NoMoreFiles {
 public:
  NoMoreFiles() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const FileDescriptor next(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const rlimit none{.rlim_cur = static_cast<rlim_t>(next.get()), .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoMoreFiles() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  NoMoreFiles(const NoMoreFiles&) = delete;
  NoMoreFiles& operator=(const NoMoreFiles&) = delete;

 private:
  rlimit before_{};
};

TEST_F(CheckpointFolder, WhatCannotBeReadIsNotDamaged) {
  save(5);
  save(10);
  {
    const NoMoreFiles now;
    EXPECT_THROW(damage_of(path(10)), Error);
    EXPECT_THROW(list_checkpoints(all()), Error);
  }
  // A file whose length cannot be asked for: a link to itself.
  const fs::path model = path(10) / "model.safetensors";
  fs::rename(model, folder / "kept");
  fs::create_symlink(model, model);
  EXPECT_THROW(damage_of(path(10)), Error);
  EXPECT_THROW(newest_checkpoint(all()), Error);
  fs::remove(model);
  EXPECT_EQ(newest_checkpoint(all()), path(5));
  fs::rename(folder / "kept", model);
  EXPECT_EQ(newest_checkpoint(all()), path(10));
}

TEST_F(CheckpointFolder, WhatCannotBeRemovedStays) {
  for (const std::int64_t step : {5, 10, 15}) save(step);
  fs::create_directories(all() / "unfinished-step-00000005" / "in the way");
  remove_old(all(), 1, 0);
  EXPECT_EQ(list_checkpoints(all()), (std::vector{path(15), path(5)}));
  remove_unfinished(all());
  remove_old(all(), 1, 0);
  EXPECT_EQ(list_checkpoints(all()), std::vector{path(15)});
}

TEST_F(CheckpointFolder, OldOnesGo) {
  for (const std::int64_t step : {5, 10, 15, 20, 25}) save(step);
  fs::create_directory(all() / "unfinished-step-00000030-0");
  remove_old(all(), 2, 10);
  std::vector<std::int64_t> left;
  for (const auto& checkpoint : list_checkpoints(all()))
    left.push_back(step_of_checkpoint(checkpoint));
  EXPECT_EQ(left, (std::vector<std::int64_t>{25, 20, 10}));
  remove_unfinished(all());
  EXPECT_FALSE(fs::exists(all() / "unfinished-step-00000030-0"));
}

}  // namespace
}  // namespace hg::test
