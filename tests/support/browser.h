// A real browser without a window, for tests of pages.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "core/file.h"
#include "support/finish.h"
#include "support/temp_folder.h"

namespace hg::test {

/// Skips the test where there is no browser.
inline void need_browser() {
  if (finish("command -v chromium").exit_code != 0)
    GTEST_SKIP() << "no chromium: scripts/install-dependencies --tests installs it";
}

/// The page as it stands once its scripts have run; the browser keeps its own files in `scratch`.
inline std::string drawn_page(const std::filesystem::path& page, const TempFolder& scratch) {
  const Finished dumped = finish(fmt::format(
      "timeout 300 chromium --headless=new --no-sandbox --disable-gpu --user-data-dir={0}/profile "
      "--virtual-time-budget=20000 --dump-dom file://{1} 2> {0}/chromium.log",
      scratch.path().string(), page.string()));
  EXPECT_EQ(dumped.exit_code, 0) << read_file(scratch / "chromium.log");
  return dumped.output;
}

}  // namespace hg::test
