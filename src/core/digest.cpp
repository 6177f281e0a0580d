#include "core/digest.h"

#include <fmt/core.h>
#include <xxhash.h>

#include "core/file.h"

namespace hg {

struct Digest::State {
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> hash{XXH3_createState()};
};

Digest::Digest() : state_(std::make_unique<State>()) { XXH3_64bits_reset(state_->hash.get()); }
Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_->hash.get(), bytes.data(), bytes.size());
  bytes_ += bytes.size();
}

std::string Digest::hex() const {
  return fmt::format("{:016x}", XXH3_64bits_digest(state_->hash.get()));
}

Digest digest_of_file(const std::filesystem::path& path) {
  Digest digest;
  read_in_pieces(path, [&](std::span<const std::byte> bytes) { digest.add(bytes); });
  return digest;
}

}  // namespace hg
