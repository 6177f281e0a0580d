// Loads, stores, atomics and asynchronous copies.
#include <algorithm>

#include "cuda_sim/ptx/forms.h"

namespace cuda_sim::ptx {
namespace {

enum class Space : std::uint8_t { parameter, local, shared, global };

template <Space space>
std::byte* memory_at(const Op* op, Lane& lane, std::uint64_t base, std::size_t bytes,
                     const char* what) {
  const std::uint64_t address = base + static_cast<std::uint64_t>(op->offset);
  if constexpr (space == Space::shared) return lane.launch.shared(op, address, bytes, what);
  if constexpr (space == Space::global) return lane.launch.global(op, address, bytes, what);
  return lane.launch.local(op, lane.local, address, bytes);
}

/// A shared address has 32 bits where it is in a register of that many.
template <Space space>
std::uint64_t base_of(const Lane& lane, std::uint32_t slot) {
  if constexpr (space == Space::shared) return get<std::uint32_t>(lane, slot);
  return get<std::uint64_t>(lane, slot);
}

template <Space space, class T, std::uint32_t n>
const Op* load(const Op* op, Lane& lane) {
  std::array<T, n> values;
  if constexpr (space == Space::parameter) {
    std::memcpy(&values, lane.launch.argument(op, sizeof values), sizeof values);
  } else {
    std::memcpy(
        &values,
        memory_at<space>(op, lane, base_of<space>(lane, op->slot[n]), sizeof values, "read"),
        sizeof values);
  }
  for (std::uint32_t i = 0; i < n; ++i) set<T>(lane, op->slot[i], values[i]);
  return op + 1;
}

template <Space space, class T, std::uint32_t n>
const Op* store(const Op* op, Lane& lane) {
  std::array<T, n> values;
  for (std::uint32_t i = 0; i < n; ++i) values[i] = get<T>(lane, op->slot[1 + i]);
  std::memcpy(
      memory_at<space>(op, lane, base_of<space>(lane, op->slot[0]), sizeof values, "written"),
      &values, sizeof values);
  return op + 1;
}

template <Space space, class T, std::uint32_t n>
void add_accesses(Forms& forms, const std::string& name, const std::string& type) {
  const std::string suffix = (n == 1 ? "" : ".v" + std::to_string(n)) + type;
  const std::uint8_t slots = space == Space::parameter ? n : n + 1;
  const Form loads{.run = load<space, T, n>, .writes = n, .slots = slots};
  forms.add("ld" + name + suffix, loads);
  if constexpr (space == Space::global) forms.add("ld" + name + ".nc" + suffix, loads);
  if constexpr (space != Space::parameter)
    forms.add("st" + name + suffix, {.run = store<space, T, n>, .slots = slots});
}

template <Space space, class T>
void add_vectors(Forms& forms, const std::string& name, const std::string& type) {
  add_accesses<space, T, 1>(forms, name, type);
  add_accesses<space, T, 2>(forms, name, type);
  if constexpr (sizeof(T) <= 4) add_accesses<space, T, 4>(forms, name, type);
}

template <Space space>
void add_space(Forms& forms, const std::string& name) {
  add_vectors<space, std::int8_t>(forms, name, ".s8");
  add_vectors<space, std::int16_t>(forms, name, ".s16");
  add_vectors<space, std::int32_t>(forms, name, ".s32");
  add_vectors<space, std::int64_t>(forms, name, ".s64");
  for (const char* kind : {".u", ".b"}) {
    add_vectors<space, std::uint8_t>(forms, name, std::string(kind) + "8");
    add_vectors<space, std::uint16_t>(forms, name, std::string(kind) + "16");
  }
  for (const char* kind : {".u", ".b", ".f"}) {
    add_vectors<space, std::uint32_t>(forms, name, std::string(kind) + "32");
    add_vectors<space, std::uint64_t>(forms, name, std::string(kind) + "64");
  }
}

/// Blocks of a device run one after the other, and threads of a block on one OS thread.
template <Space space, class T, auto f>
const Op* update(const Op* op, Lane& lane) {
  std::byte* const memory =
      memory_at<space>(op, lane, base_of<space>(lane, op->slot[1]), sizeof(T), "written");
  T old;
  std::memcpy(&old, memory, sizeof old);
  const T value = f(old, get<T>(lane, op->slot[2]));
  std::memcpy(memory, &value, sizeof value);
  set<T>(lane, op->slot[0], old);
  return op + 1;
}

template <Space space>
void add_atomics(Forms& forms, const std::string& name) {
  const auto add = [&](const std::string& operation, Handler run) {
    forms.add("atom" + name + operation, {.run = run, .writes = 1, .slots = 3});
  };
  using U32 = std::uint32_t;
  add(".add.u32", update<space, U32, [](U32 a, U32 b) { return a + b; }>);
  add(".max.u32", update<space, U32, [](U32 a, U32 b) { return std::max(a, b); }>);
  add(".add.f32", update<space, float, [](float a, float b) { return a + b; }>);
}

const Op* start_copy(const Op* op, Lane& lane) {
  const auto bytes = get<std::uint32_t>(lane, op->slot[2]),
             count = get<std::uint32_t>(lane, op->slot[3]);
  if (bytes != 16 || count > bytes)
    fail_at(op, lane, "cp.async.cg copies 16 bytes, or less and zeroes");
  std::byte* const to = memory_at<Space::shared>(
      op, lane, base_of<Space::shared>(lane, op->slot[0]), bytes, "written");
  const auto from = get<std::uint64_t>(lane, op->slot[1]);
  if (count > 0) lane.launch.global(op, from, count, "read");
  copy_async(to, reinterpret_cast<const void*>(from), bytes, count, lane.launch.place_of(op));
  return op + 1;
}

}  // namespace

void add_memory(Forms& forms) {
  add_space<Space::parameter>(forms, ".param");
  add_space<Space::local>(forms, ".local");
  add_space<Space::shared>(forms, ".shared");
  add_space<Space::global>(forms, ".global");
  add_atomics<Space::shared>(forms, ".shared");
  add_atomics<Space::global>(forms, ".global");
  forms.add("cp.async.cg.shared.global", {.run = start_copy, .slots = 4});
  forms.add("cp.async.commit_group", {.run = [](const Op* op, Lane&) {
              commit_copies();
              return op + 1;
            }});
  forms.add("cp.async.wait_group", {.run =
                                        [](const Op* op, Lane& lane) {
                                          wait_for_copies(get<std::uint32_t>(lane, op->slot[0]));
                                          return op + 1;
                                        },
                                    .slots = 1});
}

}  // namespace cuda_sim::ptx
