// Micro-batches in the order of a run, read ahead by a thread.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "data/packer.h"
#include "data/sampler.h"
#include "data/token_file.h"

namespace hg {

struct LoaderOptions {
  std::uint64_t seed = 0;
  std::int64_t seq_len = 0;
  std::int64_t sequences = 1;     ///< per micro-batch of one rank
  std::int64_t first_sample = 0;  ///< of the whole run, not of this rank
  SampleOrder order = SampleOrder::random;
  int rank = 0, ranks = 1;  ///< data parallel: each rank takes its share of every micro-batch
  int part = 0, parts = 1;  ///< context parallel: and of that, its part of the tokens
};

/// Yields micro-batches of sequences * seq_len tokens. The ranks' batches one after another are
/// what a single rank with sequences * ranks would see, so the order of samples depends on neither.
/// What comes is a pure function of the options, never of timing.
class Loader {
 public:
  /// `file` must outlive the loader.
  Loader(const TokenFile& file, const LoaderOptions& options);
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The next micro-batch, or this rank's part of it, valid until the next call of `next` or
  /// `seek`. Rethrows what failed in the thread, in its turn: where a sequential order has no whole
  /// micro-batch left, for one.
  const HostBatch& next();
  /// The whole micro-batch that `next` has returned last, or a part of.
  const HostBatch& whole() const { return ring_[slot(taken_ - 1)]; }

  /// Samples that all ranks together have taken from the run so far, counted from its beginning:
  /// the whole state, to be given to `seek` or as first_sample, also with other batch sizes.
  std::int64_t samples_consumed() const { return first_ + taken_ * stride(); }
  void seek(std::int64_t sample);

  const Sampler& sampler() const { return sampler_; }

 private:
  /// Samples of one micro-batch of all ranks.
  std::int64_t stride() const { return options_.sequences * options_.ranks; }
  void read_ahead(const std::stop_token& stop);
  void fill(std::int64_t batch);
  std::size_t slot(std::int64_t batch) const {
    return static_cast<std::size_t>(batch) % ring_.size();
  }

  const TokenFile& file_;
  LoaderOptions options_;
  Sampler sampler_;
  std::int64_t first_, taken_ = 0;  // batch i holds the samples from first_ + i stride()

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::int64_t filled_ = 0;    // under mutex_: batches the thread has filled
  std::int64_t released_ = 0;  // under mutex_: batches whose slot may be filled again
  std::exception_ptr error_;   // under mutex_: why there is no batch filled_

  // One with the caller, one ready, one being filled.
  std::array<HostBatch, 3> ring_;
  std::vector<HostBatch> parts_;  // of those in the ring; empty if this rank keeps the whole
  std::vector<Window> windows_;   // of the thread
  std::jthread thread_;           // last, so that it ends before what it uses
};

}  // namespace hg
