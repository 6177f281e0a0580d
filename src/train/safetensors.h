// Safetensors files: named tensors behind a JSON header, as Hugging Face reads and writes them.
//   8 bytes: length of the header, little-endian | header, padded with spaces | the tensors' bytes
// https://github.com/huggingface/safetensors#format
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/digest.h"
#include "core/file.h"
#include "core/tensor.h"

namespace hg {

using SafetensorsMetadata = std::map<std::string, std::string>;

struct NamedTensor {
  std::string name;
  ConstTensor tensor;  // contiguous
};

/// Writes a file atomically, each tensor straight from where it lies. They keep their order, except
/// that 4-byte elements come before bf16: so every tensor is aligned without holes, which the
/// format forbids. Names must differ. transformers expects the metadata {"format": "pt"}. Returns
/// the digest of what was written, taken before it went to the disk.
Digest write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                         const SafetensorsMetadata& metadata,
                         AtomicFile::Name name = AtomicFile::Name::durable);

/// A safetensors file, mapped into memory and checked in full (all but the values) when opened: a
/// file that is cut short, has holes, overlaps, unknown types or shapes that do not match is an
/// error that names the tensor.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  /// In the order of their bytes.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const { return entries_.contains(name); }
  const SafetensorsMetadata& metadata() const { return metadata_; }

  /// A view into the mapping, valid as long as this file. Throws for an element type that headgate
  /// does not compute with, for more than Shape::kMaxRank axes, and where another writer left the
  /// tensor unaligned: that one takes copy_to.
  ConstTensor tensor(std::string_view name) const;

  /// Copies a tensor, aligned or not, into a contiguous one of the same type and shape.
  void copy_to(std::string_view name, const Tensor& destination) const;

 private:
  struct Entry {
    std::string dtype;  // as the format spells it
    std::vector<std::int64_t> shape;
    std::uint64_t begin, end;  // in the file
  };
  void read_header(std::string_view header, std::uint64_t data_begin);
  void add(const std::string& name, const nlohmann::json& value, std::uint64_t data_begin);
  void check_layout(std::uint64_t data_begin);
  const Entry& entry(std::string_view name) const;
  /// The tensor's place and shape, without regard to alignment.
  ConstTensor view(std::string_view name, const Entry& entry) const;

  std::string path_;
  MappedFile file_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::vector<std::string> names_;
  SafetensorsMetadata metadata_;
};

}  // namespace hg
