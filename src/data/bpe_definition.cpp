#include "data/bpe_definition.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <memory>

namespace hg {

std::string fingerprint(const BpeDefinition& definition) {
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(),
                                                                              XXH3_freeState);
  XXH3_128bits_reset(state.get());
  const auto number = [&](std::int64_t value) {
    XXH3_128bits_update(state.get(), &value, sizeof value);
  };
  const auto text = [&](std::string_view value) {
    number(static_cast<std::int64_t>(value.size()));
    XXH3_128bits_update(state.get(), value.data(), value.size());
  };
  number(definition.nfc);
  text(definition.split_pattern);
  number(definition.ignore_merges);
  number(static_cast<std::int64_t>(definition.vocabulary.size()));
  for (const std::string& token : definition.vocabulary) text(token);
  number(static_cast<std::int64_t>(definition.merges.size()));
  for (const BpeMerge& merge : definition.merges) {
    number(merge.left);
    number(merge.right);
  }
  for (const AddedToken& token : definition.added_tokens) {
    text(token.content);
    number(token.id);
    number(token.normalized);
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return fmt::format("bpe-{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace hg
