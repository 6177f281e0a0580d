// Who sees whom in attention, as device code finds it, and where the rows of a group of heads are.
// A group's queries are rows r = token G + head: neighbours share keys and values.
#pragma once

#include "core/tensor.h"
#include "ops/cuda/vectors.h"

namespace hg {

/// Keys [first, last) that a query sees; none where last <= first.
struct Seen {
  int first, last;

  HG_DEVICE bool has(int key) const { return first <= key && key < last; }
  HG_DEVICE bool meets(int begin, int end) const { return first < end && begin < last; }
  HG_DEVICE bool covers(int begin, int end) const { return first <= begin && end <= last; }
};

/// The slices of ops/attention.h. `documents` is null for one slice: of all queries, over all keys.
struct SliceTable {
  const std::int32_t *documents, *keys;
  int count, queries, key_rows;

  HG_DEVICE int begin(int slice) const { return documents != nullptr ? documents[slice] : 0; }
  HG_DEVICE int end(int slice) const {
    return documents != nullptr ? documents[slice + 1] : queries;
  }
  HG_DEVICE int first_key(int slice) const {
    if (documents == nullptr) return 0;
    return keys != nullptr ? keys[2 * slice] : begin(slice);
  }
  HG_DEVICE int last_key(int slice) const {
    if (documents == nullptr) return key_rows;
    return keys != nullptr ? keys[2 * slice + 1] : end(slice);
  }

  /// The first slice for which `holds`, which does for all behind it; count if there is none.
  template <class Holds>
  HG_DEVICE int first_slice(Holds&& holds) const {
    int low = 0, high = count;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (holds(middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
  HG_DEVICE int slice_of(int query) const {
    return first_slice([&](int slice) { return end(slice) > query; });
  }
  HG_DEVICE Seen seen_by(int query) const {
    const int slice = slice_of(query);
    return {first_key(slice), query + 1 + last_key(slice) - end(slice)};
  }
  /// All keys that queries `from` to `to`, which is one of them, see.
  HG_DEVICE Seen seen_by(int from, int to) const {
    const int slice = slice_of(from);
    const Seen its = seen_by(to);
    const int before = slice_of(to) - 1;  // of slices, the last keys ascend
    return {first_key(slice), before >= slice ? max(its.last, last_key(before)) : its.last};
  }
  /// Queries [first, last), among which are all that see some of keys [begin, end_of_keys).
  HG_DEVICE Seen seeing(int begin_of_keys, int end_of_keys) const {
    const int from = first_slice([&](int slice) { return last_key(slice) > begin_of_keys; });
    const int to = first_slice([&](int slice) { return first_key(slice) >= end_of_keys; });
    if (from >= to) return {0, 0};
    const int first = begin_of_keys - (last_key(from) - end(from));
    return {max(first, begin(from)), to < count ? begin(to) : queries};
  }
};

inline SliceTable slice_table(const ConstTensor& documents, const ConstTensor& keys,
                              std::int64_t queries, std::int64_t key_rows) {
  return {.documents = documents.as<std::int32_t>(),
          .keys = keys ? keys.as<std::int32_t>() : nullptr,
          .count = static_cast<int>(documents.dim(0) - 1),
          .queries = static_cast<int>(queries),
          .key_rows = static_cast<int>(key_rows)};
}

/// Rows of one group of heads in a tensor [T, KV, G, D], of which D is contiguous.
template <class T>
struct GroupRows {
  T* data;
  std::int64_t of_token, of_group, of_head;  // strides in elements
  std::uint64_t reciprocal;                  // 2^32 / G and a little more
  int group_size, count, d;                  // G, T G, D
  bool wide;                                 // rows are whole vectors of 16 bytes

  HG_DEVICE GroupRows of(int group) const {
    GroupRows result = *this;
    result.data += group * of_group;
    return result;
  }
  HG_DEVICE int token(int row) const {
    return static_cast<int>(static_cast<std::uint64_t>(row) * reciprocal >> 32);
  }
  HG_DEVICE int head(int row) const { return row - token(row) * group_size; }
  HG_DEVICE T* row(int row) const { return data + token(row) * of_token + head(row) * of_head; }
};

template <class T, class Void>
auto group_rows(const BasicTensor<Void>& x) {
  const std::int64_t group = x.dim(2), size = size_of(x.dtype());
  HG_CHECK(x.dim(0) * group * group < std::int64_t{1} << 31,
           "attention of {} tokens by groups of {} heads: too many for 32 bits", x.dim(0), group);
  auto* data = device_pointer<T>(x);
  bool wide = aligned(data) && x.dim(3) * size % 16 == 0;
  for (int axis = 0; axis < 3; ++axis) wide = wide && x.stride(axis) * size % 16 == 0;
  return GroupRows<std::remove_pointer_t<decltype(data)>>{
      .data = data,
      .of_token = x.stride(0),
      .of_group = x.stride(1),
      .of_head = x.stride(2),
      .reciprocal = (std::uint64_t{1} << 32) / static_cast<std::uint64_t>(group) + 1,
      .group_size = static_cast<int>(group),
      .count = static_cast<int>(x.dim(0) * group),
      .d = static_cast<int>(x.dim(3)),
      .wide = wide};
}

}  // namespace hg
