// What the threads of a warp or a block do together.
#include "cuda_sim/builtins.h"
#include "cuda_sim/ptx/forms.h"

namespace cuda_sim::ptx {
namespace {

using U32 = std::uint32_t;

enum class Shuffle : std::uint8_t { to, up, down, exchange };

/// The lane that `lane` reads of, or nothing if that is outside of its part of the warp; `shape`
/// has the mask of the part and the last lane in it. See the PTX manual, "shfl.sync".
template <Shuffle kind>
int source_lane(U32 lane, U32 operand, U32 shape) {
  const U32 part = shape >> 8 & 31, last = (lane & part) | (shape & 31 & ~part);
  const int b = static_cast<int>(operand & 31), own = static_cast<int>(lane);
  int source = 0;
  if (kind == Shuffle::to) source = static_cast<int>((lane & part) | (operand & 31 & ~part));
  if (kind == Shuffle::up) source = own - b;
  if (kind == Shuffle::down) source = own + b;
  if (kind == Shuffle::exchange) source = own ^ b;
  const bool inside =
      kind == Shuffle::up ? source >= static_cast<int>(last) : source <= static_cast<int>(last);
  return inside ? source : -1;
}

template <Shuffle kind>
const char* name_of() {
  constexpr std::array names = {"__shfl_sync", "__shfl_up_sync", "__shfl_down_sync",
                                "__shfl_xor_sync"};
  return names[static_cast<std::size_t>(kind)];
}

template <Shuffle kind>
const Op* shuffle_values(const Op* op, Lane& lane) {
  const auto& s = op->slot;
  const unsigned own = the_thread->lane;
  const int source = source_lane<kind>(own, get<U32>(lane, s[3]), get<U32>(lane, s[4]));
  const U32 result =
      shuffle(name_of<kind>(), get<U32>(lane, s[5]), get<U32>(lane, s[2]),
              source < 0 ? own : static_cast<unsigned>(source), lane.launch.place_of(op));
  set<U32>(lane, s[0], result);
  set<Predicate>(lane, s[1], source >= 0 ? 1 : 0);
  return op + 1;
}

template <class Combine>
bool vote(const char* name, const Op* op, const Lane& lane) {
  return reduce<Combine>(name, get<U32>(lane, op->slot[2]), get<Predicate>(lane, op->slot[1]) != 0,
                         lane.launch.place_of(op));
}
const Op* any(const Op* op, Lane& lane) {
  set<Predicate>(lane, op->slot[0], vote<std::logical_or<>>("__any_sync", op, lane) ? 1 : 0);
  return op + 1;
}
const Op* all(const Op* op, Lane& lane) {
  set<Predicate>(lane, op->slot[0], vote<std::logical_and<>>("__all_sync", op, lane) ? 1 : 0);
  return op + 1;
}
const Op* ballot(const Op* op, Lane& lane) {
  const U32 own = get<Predicate>(lane, op->slot[1]) != 0 ? 1U << the_thread->lane : 0U;
  set<U32>(lane, op->slot[0],
           reduce<std::bit_or<>>("__ballot_sync", get<U32>(lane, op->slot[2]), own,
                                 lane.launch.place_of(op)));
  return op + 1;
}
const Op* add_up(const Op* op, Lane& lane) {
  set<U32>(lane, op->slot[0],
           reduce<std::plus<>>("__reduce_add_sync", get<U32>(lane, op->slot[2]),
                               get<U32>(lane, op->slot[1]), lane.launch.place_of(op)));
  return op + 1;
}

void check_barrier(const Op* op, const Lane& lane, std::uint32_t slot) {
  if (get<U32>(lane, slot) != 0) fail_at(op, lane, "a barrier other than 0 is not implemented");
}
const Op* sync_threads(const Op* op, Lane& lane) {
  check_barrier(op, lane, op->slot[0]);
  barrier(false, lane.launch.place_of(op));
  return op + 1;
}
const Op* count_threads(const Op* op, Lane& lane) {
  check_barrier(op, lane, op->slot[1]);
  const int count = barrier(get<Predicate>(lane, op->slot[2]) != 0, lane.launch.place_of(op));
  set<U32>(lane, op->slot[0], static_cast<U32>(count));
  return op + 1;
}
const Op* sync_warp(const Op* op, Lane& lane) {
  warp_operation("__syncwarp", get<U32>(lane, op->slot[0]), nullptr, nullptr, nullptr,
                 lane.launch.place_of(op));
  return op + 1;
}

template <void (*combine)(const WarpOperands&)>
const Op* load_fragments(const Op* op, Lane& lane) {
  const void* const row = lane.launch.shared(
      op, get<U32>(lane, op->slot[4]) + static_cast<std::uint64_t>(op->offset), 16, "read");
  std::array<U32, 4> result;
  whole_warp_operation("ldmatrix", &row, &result, combine, lane.launch.place_of(op));
  for (std::size_t i = 0; i < result.size(); ++i) set<U32>(lane, op->slot[i], result[i]);
  return op + 1;
}

/// {d}, {a}, {b}, {c}
const Op* multiply_add(const Op* op, Lane& lane) {
  const U32* const slots = op->slots;
  MmaOperands operands;
  for (std::size_t i = 0; i < 4; ++i) {
    operands.a[i] = get<U32>(lane, slots[4 + i]);
    operands.d[i] = get<float>(lane, slots[10 + i]);
  }
  for (std::size_t i = 0; i < 2; ++i) operands.b[i] = get<U32>(lane, slots[8 + i]);
  std::array<float, 4> result;
  whole_warp_operation("mma", &operands, &result, multiply_matrices, lane.launch.place_of(op));
  for (std::size_t i = 0; i < 4; ++i) set<float>(lane, slots[i], result[i]);
  return op + 1;
}

template <Shuffle kind>
constexpr Form kShuffle{
    .run = shuffle_values<kind>, .writes = 2, .slots = 6, .kind = Form::Kind::pair};

}  // namespace

void add_warp_operations(Forms& forms) {
  forms.add("shfl.sync.idx.b32", kShuffle<Shuffle::to>);
  forms.add("shfl.sync.up.b32", kShuffle<Shuffle::up>);
  forms.add("shfl.sync.down.b32", kShuffle<Shuffle::down>);
  forms.add("shfl.sync.bfly.b32", kShuffle<Shuffle::exchange>);
  forms.add("vote.sync.any.pred", {.run = any, .writes = 1, .slots = 3});
  forms.add("vote.sync.all.pred", {.run = all, .writes = 1, .slots = 3});
  forms.add("vote.sync.ballot.b32", {.run = ballot, .writes = 1, .slots = 3});
  forms.add("redux.sync.add.s32", {.run = add_up, .writes = 1, .slots = 3});
  forms.add("redux.sync.add.u32", {.run = add_up, .writes = 1, .slots = 3});
  forms.add("bar.sync", {.run = sync_threads, .slots = 1});
  forms.add("bar.red.popc.u32", {.run = count_threads, .writes = 1, .slots = 3});
  forms.add("bar.warp.sync", {.run = sync_warp, .slots = 1});
  forms.add("ldmatrix.sync.aligned.m8n8.x4.shared.b16",
            {.run = load_fragments<load_matrices>, .writes = 4, .slots = 5});
  forms.add("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16",
            {.run = load_fragments<load_transposed_matrices>, .writes = 4, .slots = 5});
  forms.add("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
            {.run = multiply_add, .writes = 4, .slots = 14});
}

}  // namespace cuda_sim::ptx
