#include "core/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "core/gpu.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define HG_POISON(address, bytes) ASAN_POISON_MEMORY_REGION(address, bytes)
#define HG_UNPOISON(address, bytes) ASAN_UNPOISON_MEMORY_REGION(address, bytes)
#else
#define HG_POISON(address, bytes) static_cast<void>(0)
#define HG_UNPOISON(address, bytes) static_cast<void>(0)
#endif

namespace hg {
namespace {

constexpr std::size_t kAlignment = 256;  // what cuBLASLt wants of its workspace
constexpr std::size_t kHugePage = std::size_t{2} << 20;
// Where a measuring arena pretends to live: not null, and never mapped for a user program.
constexpr std::uintptr_t kMeasuringBase = std::uintptr_t{1} << 56;

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

Arena::~Arena() {
  if (memory_ == nullptr) return;
  if (gpu_) {
    gpu_->release(memory_);
    return;
  }
  HG_UNPOISON(memory_, capacity_);
  munmap(memory_, capacity_);
}

void swap(Arena& a, Arena& b) noexcept {
  std::swap(a.name_, b.name_);
  std::swap(a.gpu_, b.gpu_);
  std::swap(a.memory_, b.memory_);
  std::swap(a.capacity_, b.capacity_);
  std::swap(a.used_, b.used_);
  std::swap(a.high_water_, b.high_water_);
  std::swap(a.live_, b.live_);
  std::swap(a.at_high_water_, b.at_high_water_);
}

void Arena::reserve(std::size_t bytes, std::shared_ptr<GpuStream> gpu) {
  HG_CHECK(memory_ == nullptr && used_ == 0, "arena '{}' is reserved twice", name_);
  live_.clear();
  if (gpu) {
    capacity_ = std::max<std::size_t>(bytes, 1);
    memory_ = static_cast<std::byte*>(gpu->allocate(capacity_));
    gpu_ = std::move(gpu);
    return;
  }
  capacity_ = round_up(std::max<std::size_t>(bytes, 1), kHugePage);
  void* address =
      mmap(nullptr, capacity_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    fail_errno(errno, fmt::format("arena '{}' cannot get {} bytes", name_, capacity_));
  }
  madvise(address, capacity_, MADV_HUGEPAGE);  // a wish: small pages only cost time
  memory_ = static_cast<std::byte*>(address);
  HG_POISON(memory_, capacity_);
}

Tensor Arena::allocate(std::string_view label, DType dtype, const Shape& shape) {
  const auto bytes = static_cast<std::size_t>(shape.numel() * size_of(dtype));
  const std::size_t begin = used_;
  used_ += round_up(bytes, kAlignment);
  if (memory_ == nullptr) {
    live_.push_back({begin, used_, label});
    if (used_ > high_water_) {
      high_water_ = used_;
      at_high_water_ = live_;
    }
    return {reinterpret_cast<void*>(kMeasuringBase + begin), dtype, shape};
  }
  if (used_ > capacity_) {
    used_ = begin;
    fail("arena '{}' is full: '{}' needs {} bytes, {} of {} are in use", name_, label, bytes, begin,
         capacity_);
  }
  high_water_ = std::max(high_water_, used_);
  if (!gpu_) HG_UNPOISON(memory_ + begin, bytes);
  return {memory_ + begin, dtype, shape};
}

void Arena::release(Mark mark) {
  if (memory_ == nullptr) {
    while (!live_.empty() && live_.back().begin >= mark) live_.pop_back();
  } else if (!gpu_) {
    HG_POISON(memory_ + mark, used_ - mark);
  }
  used_ = mark;
}

std::vector<Arena::Entry> Arena::high_water_entries() const {
  std::map<std::string_view, std::size_t> by_label;
  for (const Block& block : at_high_water_) by_label[block.label] += block.end - block.begin;
  std::vector<Entry> entries;
  for (const auto& [label, bytes] : by_label) entries.push_back({std::string(label), bytes});
  std::ranges::sort(entries, std::greater{}, &Entry::bytes);
  return entries;
}

}  // namespace hg
