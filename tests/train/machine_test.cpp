#include "train/machine.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/parallel.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

TEST(Machine, FactsAreThere) {
  const auto facts = machine_facts(detect_cpu());
  SCOPED_TRACE(facts.dump(2));
  for (const char* key : {"hostname", "kernel", "onednn"}) {
    EXPECT_FALSE(facts.at(key).get<std::string>().empty()) << key;
  }
  for (const char* key : {"version", "revision", "compiler", "build_type"}) {
    EXPECT_FALSE(facts.at("headgate").at(key).get<std::string>().empty()) << key;
  }
  EXPECT_EQ(facts.at("time").get<std::string>().size(), std::strlen("2000-01-01T00:00:00Z"));
  EXPECT_EQ(facts.at("cpu").at("model"), detect_cpu().model);
  EXPECT_EQ(facts.at("cpu").at("threads"), num_threads());
  const auto threads = facts.at("cpu").at("hardware_threads").get<int>();
  EXPECT_GE(threads, 1);
  EXPECT_LE(facts.at("cpu").at("cores").get<int>(), threads);
  EXPECT_GE(facts.at("memory_bytes").get<std::int64_t>(), peak_rss_bytes());
  EXPECT_FALSE(facts.contains("gpu"));
}

TEST(Machine, MemoryOfTheProcessFollowsWhatItTouches) {
  constexpr std::size_t kBytes = std::size_t{256} << 20;
  const std::int64_t before = rss_bytes();
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, kBytes);
  const std::int64_t during = rss_bytes();
  munmap(memory, kBytes);
  constexpr auto kMost = static_cast<std::int64_t>(kBytes) * 9 / 10;
  EXPECT_GE(during, before + kMost);
  EXPECT_LE(rss_bytes(), during - kMost);
  EXPECT_GE(peak_rss_bytes(), before + kMost);
}

TEST(Machine, AContainersLimitsCount) {
  const TempFolder folder;
  const std::int64_t system = available_memory(folder.path());
  EXPECT_GT(system, 0);
  EXPECT_EQ(cpu_quota(folder.path()), 0);
  write_file(folder / "memory.max", "max\n");
  write_file(folder / "memory.current", "1000\n");
  write_file(folder / "cpu.max", "max 100000\n");
  EXPECT_GT(available_memory(folder.path()), 1000);
  EXPECT_EQ(cpu_quota(folder.path()), 0);
  write_file(folder / "memory.max", "5000\n");
  write_file(folder / "cpu.max", "250000 100000\n");
  EXPECT_EQ(available_memory(folder.path()), 4000);
  EXPECT_EQ(cpu_quota(folder.path()), 2.5);
  write_file(folder / "memory.current", "6000\n");
  EXPECT_EQ(available_memory(folder.path()), 0);
}

}  // namespace
}  // namespace hg::test
