#include "train/checkpoint/manifest.h"

#include <nlohmann/json.hpp>

#include "core/check.h"
#include "core/file.h"
#include "core/parallel.h"

namespace hg {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

Json json_of(const std::vector<SavedFile>& files) {
  Json list = Json::array();
  for (const auto& [name, bytes, xxh3] : files)
    list.push_back({{"name", name}, {"bytes", bytes}, {"xxh3", xxh3}});
  return list;
}

std::vector<SavedFile> files_of(const Json& list) {
  std::vector<SavedFile> files;
  for (const Json& file : list) {
    SavedFile& saved = files.emplace_back();
    saved.name = file.at("name");
    saved.bytes = file.at("bytes");
    saved.xxh3 = file.at("xxh3");
    HG_CHECK(!saved.name.empty() && saved.name.find('/') == std::string::npos, "the file name '{}'",
             saved.name);
  }
  return files;
}

template <class... Args>
[[noreturn]] void damaged(fmt::format_string<Args...> format, Args&&... args) {
  throw DamagedCheckpoint(fmt::format(format, std::forward<Args>(args)...));
}

/// The length of a file of the checkpoint.
std::uint64_t bytes_of(const fs::path& file) {
  std::error_code error;
  const std::uint64_t bytes = fs::file_size(file, error);
  if (error == std::errc::no_such_file_or_directory) damaged("{}: is missing", file.string());
  HG_CHECK(!error, "{}: cannot ask for its length: {}", file.string(), error.message());
  return bytes;
}

Manifest manifest_of(const std::string& text) {
  const Json json = Json::parse(text);
  const int version = json.at("version");
  HG_CHECK(version == Manifest::kVersion, "version {}, expected {}", version, Manifest::kVersion);
  return {.step = json.at("step"),
          .layout = json.at("layout"),
          .processor = json.at("processor"),
          .files = files_of(json.at("files"))};
}

}  // namespace

std::string files_to_json(const std::vector<SavedFile>& files) { return json_of(files).dump(); }

std::vector<SavedFile> files_from_json(const std::string& text, const std::string& place) {
  try {
    return files_of(Json::parse(text));
  } catch (const std::exception& e) {
    fail("{}: is not a list of files: {}", place, e.what());
  }
}

void write_manifest(const fs::path& checkpoint, const Manifest& manifest) {
  const Json json = {{"format", "headgate checkpoint"}, {"version", Manifest::kVersion},
                     {"step", manifest.step},           {"layout", manifest.layout},
                     {"processor", manifest.processor}, {"files", json_of(manifest.files)}};
  write_file(checkpoint / kManifest, json.dump(2) + "\n");
}

Manifest read_manifest(const fs::path& checkpoint) {
  const fs::path path = checkpoint / kManifest;
  if (!fs::exists(path))
    damaged("{}: there is no {}: not a whole checkpoint", checkpoint.string(), kManifest);
  const std::string text = read_file(path);
  try {
    return manifest_of(text);
  } catch (const nlohmann::json::exception& e) {
    damaged("{}: is not a manifest: {}", path.string(), e.what());
  } catch (const Error& e) {
    damaged("{}: is not a manifest: {}", path.string(), e.what());
  }
}

Manifest inspect_checkpoint(const fs::path& checkpoint, Inspect depth, int share, int shares) {
  Manifest manifest = read_manifest(checkpoint);
  for (const SavedFile& file : manifest.files) {
    const fs::path path = checkpoint / file.name;
    const std::uint64_t bytes = bytes_of(path);
    if (bytes != file.bytes)
      damaged("{}: has {} bytes, the manifest says {}", path.string(), bytes, file.bytes);
  }
  if (depth == Inspect::sizes) return manifest;
  std::vector<SavedFile> to_read;
  int number = 0;
  for (const SavedFile& file : manifest.files) {
    const bool moments = file.name.starts_with("optimizer");
    if ((depth == Inspect::weights && moments) || number++ % shares != share) continue;
    to_read.push_back(file);
  }
  parallel_for(std::ssize(to_read), [&](std::int64_t i) {
    const SavedFile& file = to_read[static_cast<std::size_t>(i)];
    const fs::path path = checkpoint / file.name;
    const std::string xxh3 = digest_of_file(path).hex();
    if (xxh3 != file.xxh3)
      damaged("{}: its checksum is {}, the manifest says {}", path.string(), xxh3, file.xxh3);
  });
  return manifest;
}

}  // namespace hg
