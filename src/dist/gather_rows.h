// Plain data from every rank.
#pragma once

#include <algorithm>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "dist/comm.h"

namespace hg {

/// Every rank's rows, rank by rank, on every rank; all have as many. Bits travel, whatever they
/// mean. Collective.
template <class Row>
std::vector<Row> gather_rows(Comm& comm, std::span<const Row> own, std::string_view label) {
  static_assert(std::is_trivially_copyable_v<Row> && sizeof(Row) % sizeof(std::int32_t) == 0);
  std::vector<Row> all(own.size() * static_cast<std::size_t>(comm.size()));
  std::ranges::copy(own, all.begin() + std::ssize(own) * comm.rank());
  const auto words = static_cast<std::int64_t>(own.size_bytes() / sizeof(std::int32_t));
  const Tensor table(all.data(), DType::i32, {comm.size(), words});
  comm.all_gather(table, table.rows(comm.rank(), comm.rank() + 1), label);
  return all;
}

/// Each of the numbers summed over all ranks, in the order of ranks: the same bits on all of them.
inline std::vector<double> sums_of_ranks(Comm& comm, std::span<const double> own,
                                         std::string_view label) {
  const std::vector<double> all = gather_rows<double>(comm, own, label);
  std::vector<double> sums(own.size());
  for (std::size_t i = 0; i < all.size(); ++i) sums[i % own.size()] += all[i];
  return sums;
}

}  // namespace hg
