// Files on disk: reading whole or mapped, replacing atomically, and appending records. Every error
// names the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace hg {

/// The whole content of a file; also of files in /proc, which do not know their size.
std::string read_file(const std::filesystem::path& path);

/// Calls fn(bytes) for a file's bytes, a piece at a time, in order.
void read_in_pieces(const std::filesystem::path& path,
                    const std::function<void(std::span<const std::byte>)>& fn);

/// Makes renames and new names in a folder durable.
void sync_folder(const std::filesystem::path& folder);

/// An open file descriptor; closes itself.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  /// Closes now; returns false and sets errno if the system reports an error.
  bool reset();

 private:
  int fd_ = -1;
};

/// Writes a file under a temporary name in the same folder; `commit` gives it its own. Readers see
/// the old file or the whole new one, never a part, even after a power failure.
class AtomicFile {
 public:
  /// Whether the name is durable, too, when `commit` returns; or the caller will sync the folder.
  enum class Name { durable, left_to_caller };

  explicit AtomicFile(std::filesystem::path path, Name name = Name::durable);
  /// Without a commit, removes the temporary file.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends. Small pieces are gathered, large ones go to the system as they are; throws on any
  /// error, such as a full disk, here or in `commit`.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  /// Flushes to the disk and renames; nothing may be written afterwards.
  void commit();

  const std::filesystem::path& path() const { return path_; }

 private:
  void flush();

  std::filesystem::path path_, temporary_;
  Name name_;
  FileDescriptor file_;
  std::string buffer_;
};

/// Replaces `path` with `content`, atomically and durably.
void write_file(const std::filesystem::path& path, std::string_view content,
                AtomicFile::Name name = AtomicFile::Name::durable);

/// Appends records to a file. A record is with the system once `write` returns, so that the end of
/// the process loses none; if it cannot be written whole, the file is cut back to where it was.
class AppendFile {
 public:
  enum class Open { create_or_append, create_new };

  AppendFile(std::filesystem::path path, Open open);

  void write(std::string_view record);
  /// Makes what was written durable.
  void sync();

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
};

/// A file mapped into memory, to read. The file must not shrink meanwhile.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace hg
