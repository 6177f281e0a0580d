#include "ops/cuda/op_table.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <regex>

#include "core/file.h"
#include "support/paths.h"

namespace hg::test {
namespace {

TEST(OpTable, EveryOpHasAKernel) {
  const std::regex name("string_view name = \"([a-z_]+)\"");
  int ops = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source_path("src/ops"))) {
    if (entry.path().extension() != ".h") continue;
    const std::string text = read_file(entry.path());
    for (std::sregex_iterator it(text.begin(), text.end(), name), end; it != end; ++it) {
      EXPECT_NO_THROW(cuda_op((*it)[1].str())) << entry.path();
      ++ops;
    }
  }
  EXPECT_GT(ops, 50);
}

TEST(OpTable, AnOpWithoutAKernelIsNamed) { EXPECT_THROW(cuda_op("sort"), Error); }

}  // namespace
}  // namespace hg::test
