#include "train/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "core/check.h"

namespace hg {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kMetadata = "__metadata__";
constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr std::size_t kLengthSize = sizeof(std::uint64_t);

constexpr std::string_view safetensors_name(DType dtype) {
  constexpr std::string_view kNames[] = {"F32", "BF16", "I32", "F8_E4M3", "F8_E5M2"};
  return kNames[static_cast<std::size_t>(dtype)];
}

/// Bits per element of every type that the format knows; 0 for any other name.
int bits_of(std::string_view dtype) {
  static const std::map<std::string_view, int> kBits = {
      {"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
      {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
      {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
      {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
      {"I64", 64},        {"U64", 64}};
  const auto it = kBits.find(dtype);
  return it == kBits.end() ? 0 : it->second;
}

/// The header as JSON text: metadata, then the tensors in the order of their bytes.
std::string header_of(std::span<const NamedTensor* const> tensors,
                      const SafetensorsMetadata& metadata) {
  std::string text;
  const auto add = [&](const Json& key, const Json& value) {
    text += fmt::format("{}{}:{}", text.empty() ? '{' : ',', key.dump(), value.dump());
  };
  if (!metadata.empty()) add(kMetadata, metadata);
  std::int64_t offset = 0;
  for (const NamedTensor* named : tensors) {
    const ConstTensor& tensor = named->tensor;
    Json shape = Json::array();
    for (int axis = 0; axis < tensor.rank(); ++axis) shape.push_back(tensor.dim(axis));
    add(named->name, {{"dtype", safetensors_name(tensor.dtype())},
                      {"shape", std::move(shape)},
                      {"data_offsets", {offset, offset + tensor.bytes()}}});
    offset += tensor.bytes();
  }
  text += text.empty() ? "{}" : "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

/// Finds a key that an object holds twice; parsing into a map would keep either.
struct DuplicateKey : nlohmann::json_sax<nlohmann::json> {
  std::vector<std::set<std::string>> objects;
  std::optional<std::string> found;

  bool key(std::string& name) override {
    if (objects.back().insert(name).second) return true;
    found = name;
    return false;
  }
  bool start_object(std::size_t) override { return objects.emplace_back(), true; }
  bool end_object() override { return objects.pop_back(), true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(std::int64_t) override { return true; }
  bool number_unsigned(std::uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(nlohmann::json::binary_t&) override { return true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }
};

nlohmann::json parse_header(std::string_view text, const std::string& path) {
  DuplicateKey duplicate;
  nlohmann::json::sax_parse(text, &duplicate);
  HG_CHECK(!duplicate.found, "{}: the header holds '{}' twice", path, *duplicate.found);
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: the header is not valid JSON: {}", path, error.what());
  }
}

/// shape's product times the size of an element; nothing if it is no whole number of bytes or
/// exceeds 64 bits.
std::optional<std::uint64_t> size_in_bytes(const std::vector<std::int64_t>& shape, int bits) {
  std::uint64_t size = static_cast<std::uint64_t>(bits);
  for (const std::int64_t extent : shape) {
    if (__builtin_mul_overflow(size, static_cast<std::uint64_t>(extent), &size)) return {};
  }
  if (size % 8 != 0) return {};
  return size / 8;
}

bool all_unsigned(const nlohmann::json& value) {
  return value.is_array() && std::all_of(value.begin(), value.end(), [](const auto& x) {
           return x.is_number_unsigned() && x.template get<std::uint64_t>() <= INT64_MAX;
         });
}

}  // namespace

Digest write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                         const SafetensorsMetadata& metadata, AtomicFile::Name name) {
  std::set<std::string_view> names{kMetadata};
  std::vector<const NamedTensor*> ordered;
  for (const NamedTensor& named : tensors) {
    HG_CHECK(names.insert(named.name).second, "{}: tensor name '{}' is reserved or given twice",
             path.string(), named.name);
    HG_CHECK(named.tensor.contiguous(), "{}: tensor '{}' is not contiguous", path.string(),
             named.name);
    ordered.push_back(&named);
  }
  std::stable_partition(ordered.begin(), ordered.end(), [](const NamedTensor* named) {
    return named->tensor.dtype() != DType::bf16;
  });

  std::string header;
  try {
    header = header_of(ordered, metadata);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: a name or metadata is not UTF-8: {}", path.string(), error.what());
  }
  const std::uint64_t length = header.size();
  HG_CHECK(length <= kMaxHeader, "{}: a header of {} bytes; the format allows {}", path.string(),
           length, kMaxHeader);

  AtomicFile file(path, name);
  Digest digest;
  // A piece at a time, so that what was hashed is still in the cache when it is written.
  const auto write = [&](std::span<const std::byte> bytes) {
    constexpr std::size_t kPiece = std::size_t{1} << 20;
    for (; !bytes.empty(); bytes = bytes.subspan(std::min(kPiece, bytes.size()))) {
      const auto piece = bytes.first(std::min(kPiece, bytes.size()));
      digest.add(piece);
      file.write(piece);
    }
  };
  write(std::as_bytes(std::span(&length, 1)));
  write(std::as_bytes(std::span(header)));
  for (const NamedTensor* named : ordered) {
    write({static_cast<const std::byte*>(named->tensor.data()),
           static_cast<std::size_t>(named->tensor.bytes())});
  }
  file.commit();
  return digest;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : path_(path.string()), file_(path) {
  const std::span<const std::byte> bytes = file_.bytes();
  HG_CHECK(bytes.size() >= kLengthSize, "{}: {} bytes are too few for a safetensors file", path_,
           bytes.size());
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthSize);
  HG_CHECK(length <= kMaxHeader,
           "{}: a header of {} bytes, but the format allows {}: not a safetensors file?", path_,
           length, kMaxHeader);
  HG_CHECK(length <= bytes.size() - kLengthSize,
           "{}: a header of {} bytes, but only {} follow: the file is cut short", path_, length,
           bytes.size() - kLengthSize);
  read_header({reinterpret_cast<const char*>(bytes.data()) + kLengthSize, length},
              kLengthSize + length);
}

void SafetensorsFile::read_header(std::string_view text, std::uint64_t data_begin) {
  HG_CHECK(text.starts_with('{'), "{}: the header does not start with '{{'", path_);
  const nlohmann::json header = parse_header(text, path_);
  for (const auto& [name, value] : header.items()) {
    HG_CHECK(value.is_object(), "{}: '{}' is not an object", path_, name);
    if (name != kMetadata) {
      add(name, value, data_begin);
      continue;
    }
    for (const auto& [key, item] : value.items()) {
      HG_CHECK(item.is_string(), "{}: metadata '{}' is not a string", path_, key);
      metadata_[key] = item.get<std::string>();
    }
  }
  check_layout(data_begin);
}

void SafetensorsFile::add(const std::string& name, const nlohmann::json& value,
                          std::uint64_t data_begin) {
  HG_CHECK(value.contains("dtype") && value["dtype"].is_string() && value.contains("shape") &&
               all_unsigned(value["shape"]) && value.contains("data_offsets") &&
               all_unsigned(value["data_offsets"]) && value["data_offsets"].size() == 2,
           "{}: tensor '{}' has {}, expected dtype, shape and two data_offsets", path_, name,
           value.dump());
  const Entry entry{.dtype = value["dtype"],
                    .shape = value["shape"],
                    .begin = value["data_offsets"][0].get<std::uint64_t>() + data_begin,
                    .end = value["data_offsets"][1].get<std::uint64_t>() + data_begin};
  const int bits = bits_of(entry.dtype);
  HG_CHECK(bits > 0, "{}: tensor '{}' has the unknown dtype {}", path_, name, entry.dtype);
  HG_CHECK(entry.begin <= entry.end && size_in_bytes(entry.shape, bits) == entry.end - entry.begin,
           "{}: tensor '{}', {} {}, has bytes [{}, {}), which is not its size", path_, name,
           entry.dtype, value["shape"].dump(), entry.begin - data_begin, entry.end - data_begin);
  names_.push_back(name);
  entries_.emplace(name, entry);
}

void SafetensorsFile::check_layout(std::uint64_t data_begin) {
  std::sort(names_.begin(), names_.end(), [&](const std::string& a, const std::string& b) {
    const Entry &x = entry(a), &y = entry(b);
    return std::tie(x.begin, x.end) < std::tie(y.begin, y.end);
  });
  std::uint64_t end = data_begin;
  for (const std::string& name : names_) {
    HG_CHECK(entry(name).begin == end, "{}: tensor '{}' starts at byte {}, expected {}: {}", path_,
             name, entry(name).begin - data_begin, end - data_begin,
             entry(name).begin > end ? "there is a hole" : "tensors overlap");
    end = entry(name).end;
  }
  HG_CHECK(end == file_.bytes().size(), "{}: the tensors end at byte {}, the file has {}", path_,
           end, file_.bytes().size());
}

const SafetensorsFile::Entry& SafetensorsFile::entry(std::string_view name) const {
  const auto it = entries_.find(name);
  HG_CHECK(it != entries_.end(), "{}: there is no tensor '{}' among its {}", path_, name,
           entries_.size());
  return it->second;
}

ConstTensor SafetensorsFile::view(std::string_view name, const Entry& entry) const {
  const auto dtype = entry.dtype == "F32"    ? std::optional(DType::f32)
                     : entry.dtype == "BF16" ? std::optional(DType::bf16)
                     : entry.dtype == "I32"  ? std::optional(DType::i32)
                                             : std::nullopt;
  HG_CHECK(dtype, "{}: tensor '{}' is {}, expected F32, BF16 or I32", path_, name, entry.dtype);
  const int rank = static_cast<int>(entry.shape.size());
  HG_CHECK(rank <= Shape::kMaxRank, "{}: tensor '{}' has {} axes; at most {} are supported", path_,
           name, rank, Shape::kMaxRank);
  return {file_.bytes().data() + entry.begin, *dtype, Shape(entry.shape)};
}

ConstTensor SafetensorsFile::tensor(std::string_view name) const {
  const ConstTensor tensor = view(name, entry(name));
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.data());
  HG_CHECK(address % static_cast<std::uintptr_t>(size_of(tensor.dtype())) == 0,
           "{}: tensor '{}' starts at byte {}, not aligned to its elements of {} bytes: copy it",
           path_, name, entry(name).begin, size_of(tensor.dtype()));
  return tensor;
}

void SafetensorsFile::copy_to(std::string_view name, const Tensor& destination) const {
  const ConstTensor source = view(name, entry(name));
  HG_CHECK(source.dtype() == destination.dtype() && source.shape() == destination.shape() &&
               destination.contiguous(),
           "{}: tensor '{}' is {} {}, expected {} {}", path_, name, name_of(source.dtype()),
           source.shape().to_string(), name_of(destination.dtype()),
           destination.shape().to_string());
  if (source.bytes() == 0) return;
  std::memcpy(destination.data(), source.data(), static_cast<std::size_t>(source.bytes()));
}

}  // namespace hg
