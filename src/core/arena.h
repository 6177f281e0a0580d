// Memory of a training step: stacks that are sized by a meta run, allocated once and never grown.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace hg {

class GpuStream;

/// A stack of tensors. A new arena only measures: it hands out addresses that nobody may read, and
/// remembers the highest fill and what was live there. After `reserve` it hands out real memory,
/// and running over is an error that states the numbers: nothing is allocated inside a step.
class Arena {
 public:
  struct Entry {
    std::string label;
    std::size_t bytes;
  };
  using Mark = std::size_t;

  explicit Arena(std::string name) : name_(std::move(name)) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Allocates `bytes` for good: of the GPU, if there is one; else of the host, on huge pages where
  /// the system gives them.
  void reserve(std::size_t bytes, std::shared_ptr<GpuStream> gpu = nullptr);

  /// A contiguous tensor on top of the stack, 256-byte aligned, its values undefined.
  Tensor allocate(std::string_view label, DType dtype, const Shape& shape);

  Mark mark() const { return used_; }
  /// Frees everything allocated since `mark`.
  void release(Mark mark);

  /// Everything changes places: memory, fill and name.
  friend void swap(Arena& a, Arena& b) noexcept;

  const std::string& name() const { return name_; }
  std::size_t used() const { return used_; }
  std::size_t capacity() const { return capacity_; }  ///< bytes; 0 while measuring
  std::size_t high_water() const { return high_water_; }
  /// What was live at the high-water mark, summed by label, largest first.
  std::vector<Entry> high_water_entries() const;

 private:
  struct Block {
    std::size_t begin, end;
    std::string_view label;  // labels are literals
  };

  std::string name_;
  std::shared_ptr<GpuStream> gpu_;  // whose memory it is; null: the host's
  std::byte* memory_ = nullptr;
  std::size_t capacity_ = 0, used_ = 0, high_water_ = 0;
  std::vector<Block> live_, at_high_water_;  // kept only while measuring
};

/// Releases what was allocated from `arena` in a scope.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.release(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace hg
