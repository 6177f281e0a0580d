// What a checkpoint's folder holds, with sizes and checksums: the file that is written last.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/digest.h"

namespace hg {

inline constexpr char kManifest[] = "manifest.json";

struct SavedFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::string xxh3;  // 16 hexadecimal digits

  SavedFile() = default;
  SavedFile(std::string file, const Digest& digest)
      : name(std::move(file)), bytes(digest.bytes()), xxh3(digest.hex()) {}
};

struct Manifest {
  static constexpr int kVersion = 1;

  std::int64_t step = 0;
  std::string layout;     // "data 2 x tensor 2", for people: a checkpoint loads into any layout
  std::string processor;  // "cpu avx512 avx512_bf16", "NVIDIA H100": sums differ between kinds
  std::vector<SavedFile> files;
};

/// Files as JSON text, as a rank leaves them for rank 0, and the way back. Throws, beginning with
/// `place`.
std::string files_to_json(const std::vector<SavedFile>& files);
std::vector<SavedFile> files_from_json(const std::string& text, const std::string& place);

void write_manifest(const std::filesystem::path& checkpoint, const Manifest& manifest);
/// Throws DamagedCheckpoint if there is none, or one of another version.
Manifest read_manifest(const std::filesystem::path& checkpoint);

/// A checkpoint is not what was saved. Whatever else keeps it from being read, such as a disk that
/// does not answer, is another error: the checkpoint may be healthy.
class DamagedCheckpoint : public Error {
 public:
  using Error::Error;
};

/// What to read of a checkpoint to know whether it is undamaged.
enum class Inspect {
  sizes,    // that every file is there, and as long as it was
  weights,  // and the bytes of the weights
  all       // and of everything
};

/// Throws DamagedCheckpoint if a file is missing, or its length or checksum is not that of the
/// manifest, or that is not one, saying which and how. Of the files to read, takes
/// every `shares`-th, beginning with number `share`: ranks divide the work. Returns the manifest.
Manifest inspect_checkpoint(const std::filesystem::path& checkpoint, Inspect depth, int share = 0,
                            int shares = 1);

}  // namespace hg
