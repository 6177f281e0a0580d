#include "train/machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "build_info.h"
#include "core/check.h"
#include "core/file.h"
#include "core/gpu_facts.h"
#include "core/parallel.h"

namespace hg {
namespace {

/// The number behind "name" and ':' in a text of such lines; -1 if there is none.
std::int64_t number_of(std::string_view text, std::string_view name) {
  const std::size_t at = text.find(name);
  if (at == std::string_view::npos) return -1;
  const std::size_t digit = text.find_first_of("0123456789", at + name.size());
  std::int64_t value = -1;
  if (digit < text.find('\n', at))
    std::from_chars(text.data() + digit, text.data() + text.size(), value);
  return value;
}

/// A "kB" line of /proc/self/status. ru_maxrss of getrusage would not do: a process inherits it
/// from the one that started it.
std::int64_t status_bytes(std::string_view name) {
  const std::int64_t kilobytes = number_of(read_file("/proc/self/status"), name);
  HG_CHECK(kilobytes >= 0, "/proc/self/status has no line {}", name);
  return kilobytes * 1024;
}

/// Cores of all sockets; hardware threads share one. 0 if the system does not tell.
int physical_cores() {
  const std::string text = read_file("/proc/cpuinfo");
  std::set<std::pair<std::int64_t, std::int64_t>> cores;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find("\n\n", begin), text.size());
    const std::string_view processor(text.data() + begin, end - begin);
    if (const std::int64_t core = number_of(processor, "core id"); core >= 0) {
      cores.emplace(number_of(processor, "physical id"), core);
    }
    begin = end + 2;
  }
  return static_cast<int>(cores.size());
}

/// The number that a file of a control group begins with; nothing if there is no such file, or it
/// says "max".
std::optional<std::int64_t> cgroup_value(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const std::string text = read_file(path);
  std::int64_t value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  return end.ec == std::errc() ? std::optional(value) : std::nullopt;
}

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::string text(32, '\0');
  text.resize(std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts));
  return text;
}

}  // namespace

nlohmann::ordered_json machine_facts(const CpuInfo& cpu, const GpuStream* gpu) {
  utsname system{};
  if (::uname(&system) != 0) fail_errno(errno, "cannot ask for the system's name");
  const dnnl_version_t& onednn = *dnnl_version();
  nlohmann::ordered_json facts = {
      {"time", utc_now()},
      {"hostname", system.nodename},
      {"kernel", fmt::format("{} {} {}", system.sysname, system.release, system.machine)},
      {"headgate",
       {{"version", build::kVersion},
        {"revision", build::kRevision},
        {"compiler", build::kCompiler},
        {"build_type", build::kBuildType}}},
      {"onednn", fmt::format("{}.{}.{}", onednn.major, onednn.minor, onednn.patch)},
      {"cpu",
       {{"model", cpu.model},
        {"instruction_sets", cpu.to_string()},
        {"cores", physical_cores()},
        {"hardware_threads", ::sysconf(_SC_NPROCESSORS_ONLN)},
        {"usable_hardware_threads", hardware_threads()},
        {"threads", num_threads()}}},
      {"memory_bytes", std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE)}};
  if (gpu != nullptr) {
    const GpuFacts its = facts_of(*gpu);
    facts["gpu"] = {{"name", its.name},
                    {"architecture", fmt::format("sm_{}", its.architecture)},
                    {"memory_bytes", its.memory},
                    {"cuda_driver", its.driver},
                    {"cuda_runtime", its.runtime}};
  }
  return facts;
}

std::int64_t rss_bytes() { return status_bytes("VmRSS:"); }

std::int64_t peak_rss_bytes() { return status_bytes("VmHWM:"); }

std::int64_t available_memory(const std::filesystem::path& cgroup) {
  const std::int64_t system = number_of(read_file("/proc/meminfo"), "MemAvailable:") * 1024;
  HG_CHECK(system >= 0, "/proc/meminfo has no line MemAvailable");
  const auto limit = cgroup_value(cgroup / "memory.max"),
             used = cgroup_value(cgroup / "memory.current");
  return limit && used ? std::clamp<std::int64_t>(*limit - *used, 0, system) : system;
}

double cpu_quota(const std::filesystem::path& cgroup) {
  // "200000 100000": microseconds of all processors together, in each of so many.
  const auto quota = cgroup_value(cgroup / "cpu.max");
  if (!quota) return 0;
  const std::string text = read_file(cgroup / "cpu.max");
  const std::int64_t period = number_of(text, " ");
  return period > 0 ? static_cast<double>(*quota) / static_cast<double>(period) : 0;
}

}  // namespace hg
