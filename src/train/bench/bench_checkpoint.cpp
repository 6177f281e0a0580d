#include "train/bench/bench_checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "core/clock.h"
#include "core/file.h"
#include "core/median.h"
#include "train/bench/bench_steps.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/writer.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

template <class Fn>
double seconds_of(Fn&& fn) {
  const auto start = Clock::now();
  fn();
  return seconds_since(start);
}

/// What dd does.
void write_plainly(const fs::path& path, std::size_t bytes) {
  const std::vector<std::byte> block(std::size_t{1} << 20, std::byte{0x5a});
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file) fail_errno(errno, fmt::format("cannot create {}", path.string()));
  for (std::size_t done = 0; done < bytes;) {
    const ssize_t count = ::write(file.get(), block.data(), std::min(block.size(), bytes - done));
    if (count < 0) fail_errno(errno, fmt::format("cannot write {}", path.string()));
    done += static_cast<std::size_t>(count);
  }
  if (::fsync(file.get()) != 0) fail_errno(errno, fmt::format("cannot flush {}", path.string()));
}

/// Drops what the system keeps of a folder's files in memory.
void forget_pages(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const FileDescriptor file(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
    if (file) ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  }
}

}  // namespace

CheckpointTiming bench_checkpoint(const RunConfig& config, const CpuInfo& cpu,
                                  const fs::path& folder, int rounds) {
  HG_CHECK(!fs::exists(folder), "{}: exists; name a folder that does not", folder.string());
  const StepPlan plan = plan_step(config, cpu);
  BenchSteps steps(config, cpu, plan);
  CheckpointWriter writer(folder, steps.model(), config, {});
  TrainState state;
  const auto save = [&] {
    ++state.step;
    writer.save(state);
  };
  fs::create_directories(folder);
  steps.next(nullptr);
  CheckpointTiming timing;
  std::vector<double> copies, saves, writes, save_ratios, loads, reads, load_ratios, alone,
      overlaps;
  for (int round = 0; round < rounds; ++round) {
    save();
    const auto written = writer.finish();
    saves.push_back(written->write_seconds);
    timing.bytes = written->bytes;
    copies.push_back(written->copy_seconds);
    writes.push_back(seconds_of([&] { write_plainly(folder / "plain", timing.bytes); }));
    fs::remove(folder / "plain");
    save_ratios.push_back(saves.back() / writes.back());

    forget_pages(written->path);
    loads.push_back(seconds_of([&] {
      inspect_checkpoint(written->path, Inspect::all);
      load_checkpoint(written->path, steps.model());
    }));
    forget_pages(written->path);
    reads.push_back(seconds_of([&] {
      for (const auto& entry : fs::directory_iterator(written->path))
        read_in_pieces(entry.path(), [](std::span<const std::byte>) {});
    }));
    load_ratios.push_back(loads.back() / reads.back());

    std::vector<double> before, during;
    for (int i = 0; i < 8; ++i) before.push_back(steps.next(nullptr));
    save();
    while (!writer.finished()) during.push_back(steps.next(nullptr));
    alone.push_back(median(before));
    if (!during.empty()) overlaps.push_back(median(during) / alone.back());
    timing.overlapped += std::ssize(during);
  }
  fs::remove_all(folder);
  timing.copy_seconds = median(copies);
  timing.save_seconds = median(saves);
  timing.write_seconds = median(writes);
  timing.save_ratio = median(save_ratios);
  timing.load_seconds = median(loads);
  timing.read_seconds = median(reads);
  timing.load_ratio = median(load_ratios);
  timing.step_seconds = median(alone);
  timing.overlap_ratio = median(overlaps);
  return timing;
}

}  // namespace hg
