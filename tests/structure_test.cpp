// What keeps the tree readable: includes go one way, and no file grows long.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "support/paths.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = fs::path(test::source_path("src")).parent_path();

/// What each folder of src may include; tools stand above and may include all of it.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"core", {"core"}},
    {"cuda", {"core", "cuda", "cuda_sim"}},  // kernels' compilers: nvcc, or the tests' simulation
    {"ops", {"core", "cuda", "ops"}},
    {"dist", {"core", "ops", "dist"}},
    {"data", {"core", "data"}},
    {"model", {"core", "ops", "dist", "model"}},
    {"train", {"core", "ops", "dist", "data", "model", "train"}},
};

bool is_source(const fs::path& path) {
  return path.extension() == ".h" || path.extension() == ".cpp" || path.extension() == ".cu";
}

/// The folder of src that `#include "folder/file.h"` names; empty for any other line.
std::string_view included_folder(std::string_view line) {
  constexpr std::string_view kStart = "#include \"";
  if (!line.starts_with(kStart)) return {};
  line.remove_prefix(kStart.size());
  const auto slash = line.find('/');
  return slash == std::string_view::npos ? std::string_view{} : line.substr(0, slash);
}

TEST(Structure, IncludesGoOneWay) {
  int seen = 0;
  for (const auto& [folder, allowed] : kMayInclude) {
    if (!fs::exists(kRoot / "src" / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / "src" / folder)) {
      if (!is_source(entry.path())) continue;
      std::ifstream file(entry.path());
      std::string line;
      for (int number = 1; std::getline(file, line); ++number) {
        const std::string included(included_folder(line));
        if (included.empty()) continue;
        ++seen;
        EXPECT_TRUE(allowed.contains(included))
            << entry.path().string() << ":" << number << " includes " << included << "/";
      }
    }
  }
  EXPECT_GT(seen, 10) << "the scan finds no includes under " << kRoot;
}

TEST(Structure, EveryFolderOfSourceHasItsRule) {
  for (const auto& entry : fs::directory_iterator(kRoot / "src")) {
    if (!entry.is_directory()) continue;
    EXPECT_TRUE(kMayInclude.contains(entry.path().filename())) << entry.path();
  }
}

// Two types of one name in one namespace link, and then run each other's inline functions.
TEST(Structure, TypesOfHeadersHaveNamesOfTheirOwn) {
  std::map<std::string, std::string> where;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / "src")) {
    const std::string path = entry.path().string();
    // Kernels have namespaces of their own: one per instruction set, and one for GPUs.
    const bool kernels =
        path.find("/ops/cpu/") != std::string::npos || path.find("/ops/cuda/") != std::string::npos;
    if (entry.path().extension() != ".h" || kernels) continue;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      const bool type = line.starts_with("struct ") || line.starts_with("class ");
      if (!type || line.find('{') == std::string::npos) continue;
      const std::size_t begin = line.find(' ') + 1;
      const std::string name = line.substr(begin, line.find_first_of(" {:<", begin) - begin);
      const auto [other, first] = where.emplace(name, path);
      // A specialisation is no second type.
      EXPECT_TRUE(first || line.find('<') != std::string::npos)
          << name << " is defined in " << other->second << " and in " << path;
    }
  }
  EXPECT_GT(where.size(), 100U);
}

TEST(Structure, NoFileIsLongerThan500Lines) {
  const std::set<std::string> text = {".h", ".cpp", ".cu", ".py", ".sh", ".cmake", ".txt", ""};
  int seen = 0;
  for (const char* folder : {"src", "tools", "tests", "scripts"}) {
    if (!fs::exists(kRoot / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      if (!entry.is_regular_file() || !text.contains(entry.path().extension())) continue;
      std::ifstream file(entry.path());
      std::string line;
      int lines = 0;
      while (std::getline(file, line)) ++lines;
      ++seen;
      EXPECT_LE(lines, 500) << entry.path();
    }
  }
  EXPECT_GT(seen, 20);
}

}  // namespace
}  // namespace hg
