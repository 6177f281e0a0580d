#include "dist/gather_text.h"

#include <cstring>

#include "dist/gather_rows.h"

namespace hg {

std::vector<std::string> gather_text(Comm& comm, const std::string& text, std::string_view label) {
  HG_CHECK(text.size() < (std::size_t{1} << 30), "gather_text: {} bytes", text.size());
  const auto bytes = static_cast<std::int32_t>(text.size());
  std::int32_t most = bytes;
  comm.all_reduce(Tensor(&most, DType::i32, {1}), Reduce::max, label);
  // A row is the length and the text, padded to that of the longest.
  const std::int64_t words = 1 + (most + 3) / 4;
  std::vector<std::int32_t> own(static_cast<std::size_t>(words));
  own[0] = bytes;
  std::memcpy(own.data() + 1, text.data(), text.size());
  const auto rows = gather_rows<std::int32_t>(comm, own, label);
  std::vector<std::string> texts;
  for (const std::int32_t* row = rows.data(); row < rows.data() + rows.size(); row += words)
    texts.emplace_back(reinterpret_cast<const char*>(row + 1), static_cast<std::size_t>(row[0]));
  return texts;
}

}  // namespace hg
