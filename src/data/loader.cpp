#include "data/loader.h"

#include "core/check.h"
#include "data/context_part.h"

namespace hg {
namespace {

/// The options, once they make sense; the members that follow rely on it.
const LoaderOptions& checked(const LoaderOptions& options) {
  HG_CHECK(options.sequences > 0 && options.seq_len > 0,
           "micro-batches of {} sequences of {} tokens", options.sequences, options.seq_len);
  HG_CHECK(options.ranks > 0 && options.rank >= 0 && options.rank < options.ranks, "rank {} of {}",
           options.rank, options.ranks);
  HG_CHECK(options.parts > 0, "{} parts of a micro-batch", options.parts);
  return options;
}

}  // namespace

Loader::Loader(const TokenFile& file, const LoaderOptions& options)
    : file_(file),
      options_(checked(options)),
      sampler_(file, options.seq_len, options.seed, options.order),
      first_(options.first_sample),
      ring_{HostBatch(options.sequences * options.seq_len),
            HostBatch(options.sequences * options.seq_len),
            HostBatch(options.sequences * options.seq_len)},
      windows_(static_cast<std::size_t>(options.sequences)) {
  if (options.parts > 1) {
    const std::int64_t tokens = options.sequences * options.seq_len;
    for (std::size_t i = 0; i < ring_.size(); ++i) parts_.emplace_back(tokens / options.parts);
  }
  seek(options.first_sample);
}

void Loader::seek(std::int64_t sample) {
  HG_CHECK(sample >= 0, "sample {}", sample);
  thread_ = {};  // stops and joins
  first_ = sample;
  taken_ = filled_ = released_ = 0;
  error_ = nullptr;
  thread_ = std::jthread([this](const std::stop_token& stop) { read_ahead(stop); });
}

const HostBatch& Loader::next() {
  std::unique_lock lock(mutex_);
  released_ = taken_;
  changed_.notify_all();
  changed_.wait(lock, [this] { return filled_ > taken_ || error_ != nullptr; });
  if (filled_ <= taken_) std::rethrow_exception(error_);
  const std::size_t taken = slot(taken_++);
  return parts_.empty() ? ring_[taken] : parts_[taken];
}

void Loader::fill(std::int64_t batch) {
  const std::int64_t begin = first_ + batch * stride();
  // All ranks must find the same end, so each checks the whole micro-batch, not its own share.
  HG_CHECK(begin <= sampler_.samples() - stride(),
           "{}: no whole micro-batch of {} samples at sample {}: there are {}", file_.prefix(),
           stride(), begin, sampler_.samples());
  std::int64_t sample = begin + options_.rank * options_.sequences;
  for (Window& window : windows_) window = sampler_(sample++);
  HostBatch& whole = ring_[slot(batch)];
  pack(file_, windows_, whole);
  if (!parts_.empty()) cut_context(whole, options_.part, options_.parts, parts_[slot(batch)]);
}

void Loader::read_ahead(const std::stop_token& stop) {
  const auto ring = static_cast<std::int64_t>(ring_.size());
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [&] { return filled_ - released_ < ring; })) {
    const std::int64_t batch = filled_;
    std::exception_ptr error;
    lock.unlock();
    try {
      fill(batch);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    error_ = error;
    if (!error) ++filled_;
    changed_.notify_all();
    if (error) return;
  }
}

}  // namespace hg
