// Facts about the build and the machine, for the run folder, and this process's memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "core/cpu_info.h"
#include "core/gpu.h"

namespace hg {

/// What somebody needs who wants to repeat a run or to compare speeds: version, revision, compiler,
/// oneDNN, processor, threads, memory, kernel, host and the time (UTC); of the GPU, if there is
/// one, name, memory and versions of CUDA.
nlohmann::ordered_json machine_facts(const CpuInfo& cpu, const GpuStream* gpu = nullptr);

/// Memory of this process that is in RAM, now and at most since it began.
std::int64_t rss_bytes();
std::int64_t peak_rss_bytes();

/// Memory that processes here may still take: what the system has left, or the container, which
/// `cgroup` describes, if that is less.
std::int64_t available_memory(const std::filesystem::path& cgroup = "/sys/fs/cgroup");
/// Processors' time that the container may use at once; 0 if that is not limited.
double cpu_quota(const std::filesystem::path& cgroup = "/sys/fs/cgroup");

}  // namespace hg
