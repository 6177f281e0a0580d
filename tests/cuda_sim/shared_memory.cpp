#include "cuda_sim/shared_memory.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "core/check.h"
#include "cuda_sim/block.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace cuda_sim {
namespace {

constexpr std::size_t kGuard = 128;  // bytes, and the alignment of arrays
constexpr std::byte kGuardByte{0xa5}, kNanByte{0xff};

}  // namespace

SharedMemory::Array::Array(std::size_t bytes, const Where& where) : bytes_(bytes), where_(where) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kGuard, bytes + 2 * kGuard) != 0) throw std::bad_alloc();
  memory_ = static_cast<std::byte*>(memory);
  std::fill_n(memory_, kGuard, kGuardByte);
  std::fill_n(data(), bytes, kNanByte);
  std::fill_n(data() + bytes, kGuard, kGuardByte);
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(memory_, kGuard);
  __asan_poison_memory_region(data() + bytes, kGuard);
#endif
  if (observer().fresh != nullptr) observer().fresh(memory_, bytes + 2 * kGuard);
}

SharedMemory::Array::~Array() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(memory_, bytes_ + 2 * kGuard);
#endif
  std::free(memory_);
}

std::byte* SharedMemory::Array::data() const { return memory_ + kGuard; }

void SharedMemory::Array::check() const {
#if !defined(__SANITIZE_ADDRESS__)  // which has found it already, and lets nobody read here
  const auto check_guard = [&](const std::byte* guard, const char* side) {
    const bool whole =
        std::all_of(guard, guard + kGuard, [](std::byte byte) { return byte == kGuardByte; });
    HG_CHECK(whole, "{}:{}: something was written {} this array of {} bytes of shared memory",
             where_.file_name(), where_.line(), side, bytes_);
  };
  check_guard(memory_, "before");
  check_guard(data() + bytes_, "past the end of");
#endif
}

void SharedMemory::begin(std::size_t dynamic_bytes, std::size_t limit) {
  limit_ = limit;
  dynamic_bytes_ = dynamic_bytes;
  static_bytes_ = 0;
  arrays_.clear();
  dynamic_ = std::make_unique<Array>(dynamic_bytes, Where::current());
}

void* SharedMemory::array(const void* key, std::size_t bytes, const Where& where) {
  std::unique_ptr<Array>& array = arrays_[key];
  if (array == nullptr) {
    static_bytes_ += bytes;
    if (static_bytes_ > kMaxStaticShared)
      fail(fmt::format("{} bytes of shared memory are declared, more than {}", static_bytes_,
                       kMaxStaticShared),
           where);
    if (static_bytes_ + dynamic_bytes_ > limit_)
      fail(fmt::format(
               "{} bytes of shared memory and {} of the launch are more than the device's {}",
               static_bytes_, dynamic_bytes_, limit_),
           where);
    array = std::make_unique<Array>(bytes, where);
  }
  return array->data();
}

void SharedMemory::check() const {
  if (dynamic_ != nullptr) dynamic_->check();
  for (const auto& [key, array] : arrays_) array->check();
}

void* shared_array(const void* key, std::size_t bytes, const Where& where) {
  return current_block().shared().array(key, bytes, where);
}

void* dynamic_shared_array() { return current_block().shared().dynamic(); }
std::size_t dynamic_shared_bytes() { return current_block().shared().dynamic_bytes(); }

}  // namespace cuda_sim
