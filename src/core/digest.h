// Checksums of data on the disk: XXH3 of 64 bits, which is faster than any disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace hg {

/// Hashes bytes as they come.
class Digest {
 public:
  Digest();
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void add(std::span<const std::byte> bytes);
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  /// Of what was added so far: 16 hexadecimal digits.
  std::string hex() const;
  std::uint64_t bytes() const { return bytes_; }

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::uint64_t bytes_ = 0;
};

/// A file's digest.
Digest digest_of_file(const std::filesystem::path& path);

}  // namespace hg
