// Token data made for a test.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/check.h"
#include "support/temp_folder.h"

namespace hg::test {

using Documents = std::vector<std::vector<std::int32_t>>;

/// Documents of these lengths whose ids count from 0 through the whole stream: an id says where its
/// token is.
Documents counting_documents(const std::vector<int>& lengths);

/// Writes documents to `folder`; returns the prefix.
std::string write_tokens(const TempFolder& folder, const Documents& documents,
                         std::int64_t vocab_size);

/// The bytes of an index, whether or not it makes sense.
std::string index_bytes(int type, const std::vector<std::int32_t>& lengths,
                        const std::vector<std::int64_t>& offsets,
                        const std::vector<std::int64_t>& bounds);

/// What hg::Error says that `fn` throws; empty if it throws none.
template <class Fn>
std::string error_of(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace hg::test
