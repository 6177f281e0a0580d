#include "data/pretokenizer.h"

namespace hg {
namespace {

std::vector<AddedTokenMatcher::Entry> select(const BpeDefinition& definition, bool normalized) {
  std::vector<AddedTokenMatcher::Entry> entries;
  std::string buffer;
  for (const AddedToken& token : definition.added_tokens) {
    if (token.normalized != normalized) continue;
    const bool change = normalized && definition.nfc;
    entries.push_back(
        {std::string(change ? normalize_nfc(token.content, buffer) : token.content), token.id});
  }
  return entries;
}

}  // namespace

Pretokenizer::Pretokenizer(const BpeDefinition& definition)
    : nfc_(definition.nfc),
      regex_(definition.split_pattern),
      in_source_(select(definition, false)),
      in_normalized_(select(definition, true)) {}

}  // namespace hg
