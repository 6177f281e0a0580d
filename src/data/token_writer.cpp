#include "data/token_writer.h"

#include <filesystem>
#include <limits>

#include "core/check.h"

namespace hg {
namespace {

template <class T>
void write_value(AtomicFile& file, T value) {
  file.write(std::as_bytes(std::span(&value, 1)));
}

}  // namespace

TokenWriter::TokenWriter(std::string prefix, std::int64_t vocab_size)
    : prefix_(std::move(prefix)),
      vocab_size_(vocab_size),
      type_(token_format::type_for(vocab_size)),
      data_(data_name()) {
  HG_CHECK(vocab_size > 0 && vocab_size <= std::int64_t{1} << 31, "{}: a vocabulary of {} ids",
           prefix_, vocab_size);
  HG_CHECK(!std::filesystem::exists(index_name()),
           "{} exists: remove it, or write to another prefix", index_name());
}

void TokenWriter::add_document(std::span<const std::int32_t> ids) {
  HG_CHECK(ids.size() <= std::numeric_limits<std::int32_t>::max(),
           "{}: document {} has {} tokens, more than an index can say", prefix_, documents(),
           ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    HG_CHECK(ids[i] >= 0 && ids[i] < vocab_size_,
             "{}: token {} of document {} is id {}, expected 0 to {} in a vocabulary of {}",
             prefix_, i, documents(), ids[i], vocab_size_ - 1, vocab_size_);
  }
  if (type_ == token_format::Type::u16) {
    narrow_.assign(ids.begin(), ids.end());
    data_.write(std::as_bytes(std::span(narrow_)));
  } else {
    data_.write(std::as_bytes(ids));
  }
  lengths_.push_back(static_cast<std::int32_t>(ids.size()));
  tokens_ += static_cast<std::int64_t>(ids.size());
}

void TokenWriter::write_index(AtomicFile& index) const {
  const std::int64_t element_bytes = token_format::element_bytes(type_);
  index.write(token_format::kMagic);
  write_value(index, token_format::kVersion);
  write_value(index, type_);
  write_value(index, std::uint64_t{lengths_.size()});
  write_value(index, std::uint64_t{lengths_.size()} + 1);
  index.write(std::as_bytes(std::span(lengths_)));
  std::int64_t offset = 0;
  for (const std::int32_t length : lengths_) {
    write_value(index, offset);
    offset += length * element_bytes;
  }
  for (std::int64_t bound = 0; bound <= documents(); ++bound) write_value(index, bound);
}

void TokenWriter::finish() {
  AtomicFile index(index_name());
  write_index(index);
  data_.commit();
  try {
    index.commit();
  } catch (...) {  // half a pair is of no use to anyone
    std::error_code ignored;
    std::filesystem::remove(data_name(), ignored);
    throw;
  }
}

}  // namespace hg
