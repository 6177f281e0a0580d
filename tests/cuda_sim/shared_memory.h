// A block's shared memory: every array apart from the others, with guards around it.
#pragma once

#include <map>
#include <memory>

#include "cuda_sim/kernel.h"

namespace cuda_sim {

/// Arrays that hold NaN until they are written. What is written around one is found when the block
/// ends or, where AddressSanitizer runs, when it happens, and so is what is read.
class SharedMemory {
 public:
  /// Forgets all arrays; `limit` bytes are the device's, for all of them.
  void begin(std::size_t dynamic_bytes, std::size_t limit);
  void* dynamic() const { return dynamic_->data(); }
  std::size_t dynamic_bytes() const { return dynamic_bytes_; }
  void* array(const void* key, std::size_t bytes, const Where& where);
  /// Throws hg::Error if something was written past the end of an array, or before it.
  void check() const;

 private:
  class Array {
   public:
    Array(std::size_t bytes, const Where& where);
    ~Array();
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;

    std::byte* data() const;
    void check() const;

   private:
    std::byte* memory_;
    std::size_t bytes_;
    Where where_;
  };

  std::size_t limit_ = 0, dynamic_bytes_ = 0, static_bytes_ = 0;
  std::unique_ptr<Array> dynamic_;
  std::map<const void*, std::unique_ptr<Array>> arrays_;
};

}  // namespace cuda_sim
