// Changing the state of a saved checkpoint, as if another run had saved it.
#pragma once

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "train/checkpoint/manifest.h"

namespace hg::test {

/// Calls fn(json) with the content of state.json, and writes it back with its new checksum.
template <class Fn>
void edit_state(const std::filesystem::path& checkpoint, Fn&& fn) {
  const std::filesystem::path path = checkpoint / "state.json";
  auto json = nlohmann::ordered_json::parse(read_file(path));
  fn(json);
  const std::string text = json.dump(2) + "\n";
  write_file(path, text);
  Manifest manifest = read_manifest(checkpoint);
  for (SavedFile& file : manifest.files) {
    Digest digest;
    digest.add(text);
    if (file.name == "state.json") file = SavedFile(file.name, digest);
  }
  write_manifest(checkpoint, manifest);
}

}  // namespace hg::test
