#include "train/checkpoint/writer.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <random>
#include <thread>

#include "core/clock.h"
#include "core/file.h"
#include "dist/gather_rows.h"
#include "train/checkpoint/checkpoint_folder.h"
#include "train/checkpoint/get_together.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

std::uint64_t draw_attempt(Comm* host) {
  std::random_device device;
  const std::uint64_t own = (std::uint64_t{device()} << 32) | device();
  return host == nullptr
             ? own
             : gather_rows<std::uint64_t>(*host, {&own, 1}, "name of the attempt").front();
}

/// Lets threads that compute go first: they wait for each other, so that one that shares its core
/// with this thread holds up all. On Linux a thread has a priority of its own. A wish.
void step_aside() { ::setpriority(PRIO_PROCESS, 0, 10); }

/// Where a rank tells rank 0 which files it has written.
std::string note_of_rank(int rank) { return fmt::format("rank{:05}.json", rank); }

}  // namespace

struct CheckpointWriter::Job {
  SavedState saved;
  std::vector<SavedPart> parts;
  fs::path unfinished;
  double copy_seconds;
};

CheckpointWriter::CheckpointWriter(fs::path folder, const RunModel& run, const RunConfig& config,
                                   Fingerprints fingerprints)
    : folder_(std::move(folder)),
      run_(run),
      config_(config),
      fingerprints_(std::move(fingerprints)),
      attempt_(draw_attempt(run.store.mesh().host)) {}

CheckpointWriter::~CheckpointWriter() {
  stop_.request_stop();
  if (writing_.valid()) writing_.wait();
}

void CheckpointWriter::save(const TrainState& state) {
  finish();
  const auto start = Clock::now();
  auto job = std::make_shared<Job>();
  job->saved = {state, fingerprints_};
  job->parts = take_snapshot(run_);
  job->unfinished =
      folder_ / fmt::format("unfinished-{}-{:016x}", checkpoint_name(state.step), attempt_);
  job->copy_seconds = seconds_since(start);
  writing_ = std::async(std::launch::async, [this, job = std::move(job), stop = stop_.get_token()] {
    step_aside();
    return write(*job, stop);
  });
}

std::optional<Written> CheckpointWriter::finished() {
  using namespace std::chrono_literals;
  if (!writing_.valid() || writing_.wait_for(0s) != std::future_status::ready) return std::nullopt;
  return writing_.get();
}

std::optional<Written> CheckpointWriter::finish() {
  return get_together(run_.store.mesh().host, writing_, "checkpoint");
}

Written CheckpointWriter::write(const Job& job, const std::stop_token& stop) const {
  const auto start = Clock::now();
  Written written{.path = folder_ / checkpoint_name(job.saved.state.step),
                  .copy_seconds = job.copy_seconds};
  const int rank = run_.store.mesh().world.rank;
  std::error_code error;
  fs::create_directories(job.unfinished, error);
  HG_CHECK(!error, "{}: cannot create the folder: {}", job.unfinished.string(), error.message());
  try {
    std::vector<SavedFile> files;
    for (const SavedPart& part : job.parts)
      files.emplace_back(part.file, part.write(job.unfinished));
    if (rank == 0) std::ranges::move(files_of_others(job, stop), std::back_inserter(files));
    for (const SavedFile& file : files) written.bytes += file.bytes;
    if (rank > 0) {
      // Once the note is there rank 0 may rename the folder: this rank must be done with it.
      sync_folder(job.unfinished);
      write_file(job.unfinished / note_of_rank(rank), files_to_json(files),
                 AtomicFile::Name::left_to_caller);
    } else {
      commit(job, std::move(files), written.path);
    }
  } catch (...) {
    if (rank == 0) fs::remove_all(job.unfinished, error);
    throw;
  }
  written.write_seconds = seconds_since(start);
  return written;
}

std::vector<SavedFile> CheckpointWriter::files_of_others(const Job& job,
                                                         const std::stop_token& stop) const {
  using namespace std::chrono_literals;
  std::vector<SavedFile> files;
  for (int rank = 1; rank < run_.store.mesh().world.size; ++rank) {
    const fs::path note = job.unfinished / note_of_rank(rank);
    while (!fs::exists(note)) {
      HG_CHECK(!stop.stop_requested(), "{}: rank {} has not written its part",
               job.unfinished.string(), rank);
      std::this_thread::sleep_for(2ms);
    }
    std::ranges::move(files_from_json(read_file(note), note.string()), std::back_inserter(files));
    fs::remove(note);
  }
  return files;
}

void CheckpointWriter::commit(const Job& job, std::vector<SavedFile> files,
                              const fs::path& path) const {
  const auto add = [&](const char* name, const std::string& text) {
    write_file(job.unfinished / name, text, AtomicFile::Name::left_to_caller);
    Digest digest;
    digest.add(text);
    files.emplace_back(name, digest);
  };
  add("config.yaml", to_yaml(config_));
  add("state.json", state_to_json(job.saved));
  write_manifest(job.unfinished, {.step = job.saved.state.step,
                                  .layout = run_.store.mesh().shape().to_string(),
                                  .processor = processor_of(run_.ctx),
                                  .files = std::move(files)});
  inspect_checkpoint(job.unfinished, Inspect::sizes);

  // Of an earlier end of the run, overtaken by this one, or damaged and passed over.
  HG_CHECK(!fs::exists(path) || remove_checkpoint(path),
           "{}: is in the way of the checkpoint of this step", path.string());
  fs::rename(job.unfinished, path);
  sync_folder(folder_);
  set_latest(path);
  remove_old(folder_, config_.checkpoint.keep, config_.checkpoint.keep_every);
}

}  // namespace hg
