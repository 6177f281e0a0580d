// A folder for one test, removed with everything in it. With HEADGATE_TEST_FILES=FOLDER in the
// environment it is FOLDER/Suite.Test and stays, for scripts/oracle to look at.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/check.h"

namespace hg::test {

class TempFolder {
 public:
  TempFolder() {
    if (const char* parent = std::getenv("HEADGATE_TEST_FILES")) {
      const auto* info = testing::UnitTest::GetInstance()->current_test_info();
      keep_ = true;
      path_ = std::filesystem::path(parent) /
              fmt::format("{}.{}", info->test_suite_name(), info->name());
      std::filesystem::create_directories(path_);
      return;
    }
    std::string name = (std::filesystem::temp_directory_path() / "headgate_test_XXXXXX").string();
    HG_CHECK(::mkdtemp(name.data()) != nullptr, "cannot make a temporary folder like {}", name);
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    if (!keep_) std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
  bool keep_ = false;
};

}  // namespace hg::test
