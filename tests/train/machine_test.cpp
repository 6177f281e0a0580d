#include "train/machine.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "core/parallel.h"

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

}  // namespace
}  // namespace hg::test
