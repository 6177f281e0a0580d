// A folder for one test, removed with everything in it.
#pragma once

#include <stdlib.h>

#include <filesystem>

#include "core/check.h"

namespace hg::test {

class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "headgate_test_XXXXXX").string();
    HG_CHECK(::mkdtemp(name.data()) != nullptr, "cannot make a temporary folder like {}", name);
    path_ = name;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace hg::test
