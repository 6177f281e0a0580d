#include "core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/check.h"

namespace hg {
namespace {

constexpr mode_t kMode = 0666;  // the user's umask decides

FileDescriptor open_to_read(const std::filesystem::path& path) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) fail_errno(errno, fmt::format("cannot open {}", path.string()));
  return file;
}

/// Writes all of `bytes`; returns false with errno set otherwise.
bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

void read_in_pieces(const std::filesystem::path& path,
                    const std::function<void(std::span<const std::byte>)>& fn) {
  const FileDescriptor file = open_to_read(path);
  std::array<std::byte, 1 << 16> piece;  // small enough for who reads a line of /proc in each step
  while (true) {
    const ssize_t count = ::read(file.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_errno(errno, fmt::format("cannot read {}", path.string()));
    if (count == 0) return;
    fn(std::span(piece).first(static_cast<std::size_t>(count)));
  }
}

std::string read_file(const std::filesystem::path& path) {
  std::string content;
  std::error_code unknown;  // as of files in /proc
  const auto size = std::filesystem::file_size(path, unknown);
  if (!unknown) content.reserve(size + 1);
  read_in_pieces(path, [&](std::span<const std::byte> bytes) {
    content.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  });
  return content;
}

void write_file(const std::filesystem::path& path, std::string_view content,
                AtomicFile::Name name) {
  AtomicFile file(path, name);
  file.write(content);
  file.commit();
}

void sync_folder(const std::filesystem::path& folder) {
  const char* name = folder.empty() ? "." : folder.c_str();
  const FileDescriptor file(::open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!file) fail_errno(errno, fmt::format("cannot open folder {}", name));
  // Some network file systems do not know fsync of a folder and say EINVAL.
  if (::fsync(file.get()) != 0 && errno != EINVAL) {
    fail_errno(errno, fmt::format("cannot flush folder {} to disk", name));
  }
}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  reset();
  fd_ = std::exchange(other.fd_, -1);
  return *this;
}

bool FileDescriptor::reset() {
  const int fd = std::exchange(fd_, -1);
  return fd < 0 || ::close(fd) == 0;
}

AtomicFile::AtomicFile(std::filesystem::path path, Name name)
    : path_(std::move(path)), name_(name) {
  // A number finds a free name beside what a killed process may have left.
  for (int number = 0; !file_; ++number) {
    temporary_ = path_;
    temporary_ += fmt::format(".tmp{}", number);
    file_ =
        FileDescriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMode));
    if (!file_ && errno != EEXIST) {
      fail_errno(errno,
                 fmt::format("cannot create {} to write {}", temporary_.string(), path_.string()));
    }
  }
}

AtomicFile::~AtomicFile() {
  if (file_) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  constexpr std::size_t kBufferSize = std::size_t{1} << 20;
  HG_CHECK(file_, "{} was written to after its commit", path_.string());
  if (buffer_.size() + bytes.size() > kBufferSize) flush();
  if (bytes.size() < kBufferSize) {
    buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  } else if (!write_all(file_.get(), bytes)) {
    fail_errno(errno,
               fmt::format("cannot write {} bytes to {}", bytes.size(), temporary_.string()));
  } else {
    // The disk begins now, not when the file is flushed; a hint, so whether it fails is nothing.
    ::sync_file_range(file_.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
  }
}

void AtomicFile::flush() {
  if (!write_all(file_.get(), std::as_bytes(std::span(buffer_)))) {
    fail_errno(errno,
               fmt::format("cannot write {} bytes to {}", buffer_.size(), temporary_.string()));
  }
  buffer_.clear();
}

void AtomicFile::commit() {
  HG_CHECK(file_, "{} was committed twice", path_.string());
  flush();
  if (::fsync(file_.get()) != 0) {
    fail_errno(errno, fmt::format("cannot flush {} to disk", temporary_.string()));
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    fail_errno(errno, fmt::format("cannot rename {} to {}", temporary_.string(), path_.string()));
  }
  if (!file_.reset()) fail_errno(errno, fmt::format("cannot close {}", path_.string()));
  if (name_ == Name::durable) sync_folder(path_.parent_path());
}

AppendFile::AppendFile(std::filesystem::path path, Open open) : path_(std::move(path)) {
  const int exclusive = open == Open::create_new ? O_EXCL : 0;
  file_ = FileDescriptor(
      ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | exclusive, kMode));
  if (!file_) fail_errno(errno, fmt::format("cannot open {} to append to it", path_.string()));
}

void AppendFile::write(std::string_view record) {
  const off_t end = ::lseek(file_.get(), 0, SEEK_END);
  if (write_all(file_.get(), std::as_bytes(std::span(record)))) return;
  const int error = errno;
  if (end >= 0 && ::ftruncate(file_.get(), end) != 0) {
    fail_errno(error, fmt::format("{} now ends in half a record: cannot append {} bytes to it",
                                  path_.string(), record.size()));
  }
  fail_errno(error, fmt::format("cannot append {} bytes to {}", record.size(), path_.string()));
}

void AppendFile::sync() {
  if (::fsync(file_.get()) != 0) {
    fail_errno(errno, fmt::format("cannot flush {} to disk", path_.string()));
  }
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const FileDescriptor file = open_to_read(path);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) {
    fail_errno(errno, fmt::format("cannot ask for the size of {}", path.string()));
  }
  HG_CHECK(S_ISREG(status.st_mode), "{} is not a regular file", path.string());
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return;  // an empty range cannot be mapped
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) {
    fail_errno(errno, fmt::format("cannot map {} ({} bytes) into memory", path.string(), size));
  }
  bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace hg
