#include "support/token_data.h"

#include "data/token_writer.h"

namespace hg::test {
namespace {

template <class T>
void append(std::string& bytes, const std::vector<T>& values) {
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

}  // namespace

Documents counting_documents(const std::vector<int>& lengths) {
  Documents documents;
  std::int32_t next = 0;
  for (const int length : lengths) {
    auto& document = documents.emplace_back();
    for (int i = 0; i < length; ++i) document.push_back(next++);
  }
  return documents;
}

std::string write_tokens(const TempFolder& folder, const Documents& documents,
                         std::int64_t vocab_size) {
  const std::string prefix = (folder / "tokens").string();
  TokenWriter writer(prefix, vocab_size);
  for (const auto& document : documents) writer.add_document(document);
  writer.finish();
  return prefix;
}

std::string index_bytes(int type, const std::vector<std::int32_t>& lengths,
                        const std::vector<std::int64_t>& offsets,
                        const std::vector<std::int64_t>& bounds) {
  std::string bytes("MMIDIDX\0\0", 9);
  append<std::uint64_t>(bytes, {1});
  append<std::uint8_t>(bytes, {static_cast<std::uint8_t>(type)});
  append<std::uint64_t>(bytes, {lengths.size(), bounds.size()});
  append(bytes, lengths);
  append(bytes, offsets);
  append(bytes, bounds);
  return bytes;
}

}  // namespace hg::test
