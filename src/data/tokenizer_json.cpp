#include "data/tokenizer_json.h"

#include <unordered_map>

#include "core/check.h"
#include "core/file.h"
#include "data/byte_level.h"
#include "data/json_view.h"

namespace hg {
namespace {

/// Ids beyond this are a damaged file, not a vocabulary.
constexpr std::int64_t kMaxId = std::int64_t{1} << 24;

/// Tokens as the file writes them; views into what was read.
using Ids = std::unordered_map<std::string_view, std::int32_t>;

std::int32_t read_id(const JsonView& id) {
  return static_cast<std::int32_t>(id.integer(0, kMaxId));
}

bool read_nfc(const JsonView& normalizer) {
  if (normalizer.is_null()) return false;
  normalizer["type"].expect("NFC");
  return true;
}

void check_byte_level(const JsonView& part, bool use_regex) {
  part["type"].expect("ByteLevel");
  part["add_prefix_space"].expect(false);
  if (part["use_regex"].boolean_or(true) != use_regex) part["use_regex"].expect(use_regex);
}

std::string read_split_pattern(const JsonView& pre_tokenizer) {
  if (pre_tokenizer["type"].value() == "ByteLevel") {
    check_byte_level(pre_tokenizer, true);
    return std::string(kGpt2SplitPattern);
  }
  if (pre_tokenizer["type"].value() != "Sequence") {
    pre_tokenizer["type"].reject("\"ByteLevel\", or \"Sequence\" of Split and ByteLevel");
  }
  const JsonView parts = pre_tokenizer["pretokenizers"];
  if (parts.array_size() != 2) parts.reject("two parts, Split and ByteLevel");
  check_byte_level(parts[1], false);
  const JsonView split = parts[0];
  split["type"].expect("Split");
  split["behavior"].expect("Isolated");
  if (split["invert"].boolean_or(false)) split["invert"].expect(false);
  return split["pattern"]["Regex"].string();
}

AddedToken read_added_token(const JsonView& token) {
  for (const char* option : {"single_word", "lstrip", "rstrip"}) {
    if (token[option].boolean_or(false)) token[option].expect(false);
  }
  const bool special = token["special"].boolean_or(false);
  if (token["content"].string().empty()) token["content"].reject("a string that is not empty");
  return {.content = token["content"].string(),
          .id = read_id(token["id"]),
          .special = special,
          .normalized = token["normalized"].boolean_or(!special)};
}

std::vector<AddedToken> read_added_tokens(const JsonView& list) {
  std::vector<AddedToken> tokens;
  if (list.is_null()) return tokens;
  std::unordered_map<std::int32_t, std::string> contents;
  for (std::size_t i = 0; i < list.array_size(); ++i) {
    tokens.push_back(read_added_token(list[i]));
    const auto [other, fresh] = contents.emplace(tokens.back().id, tokens.back().content);
    if (!fresh) list[i]["id"].reject(fmt::format("another id than that of \"{}\"", other->second));
  }
  return tokens;
}

void check_model_options(const JsonView& model) {
  if (!model["type"].is_null()) model["type"].expect("BPE");  // GPT-2's file has none
  if (model["dropout"].value() != 0.0 && !model["dropout"].is_null())
    model["dropout"].expect(nullptr);
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (model[affix].value() != "" && !model[affix].is_null()) model[affix].expect(nullptr);
  }
  if (model["byte_fallback"].boolean_or(false)) model["byte_fallback"].expect(false);
}

/// Fills definition.vocabulary, whose added tokens must be there, and returns the ids of its
/// tokens.
Ids read_vocabulary(const JsonView& vocab, BpeDefinition& definition) {
  if (!vocab.value().is_object()) vocab.reject("an object of tokens and their ids");
  Ids added, ids;
  std::unordered_map<std::int32_t, std::string_view> added_by_id;
  for (const AddedToken& token : definition.added_tokens) {
    added.emplace(token.content, token.id);
    added_by_id.emplace(token.id, token.content);
  }
  const auto& tokens = vocab.value().get_ref<const nlohmann::json::object_t&>();
  ids.reserve(tokens.size());
  definition.vocabulary.resize(tokens.size());
  for (const auto& [token, value] : tokens) {
    const std::int32_t id = read_id(vocab[token]);
    const auto same_text = added.find(token);
    if (same_text != added.end() && same_text->second != id) {
      vocab[token].reject(fmt::format("{} as in added_tokens", same_text->second));
    }
    const auto same_id = added_by_id.find(id);
    if (same_id != added_by_id.end() && same_id->second != token) {
      vocab[token].reject(fmt::format("another id than that of \"{}\"", same_id->second));
    }
    auto bytes = from_byte_level(token);
    if (!bytes || bytes->empty()) {
      if (same_text != added.end()) continue;
      vocab[token].reject("a token in the characters of the byte-level alphabet");
    }
    const auto at = static_cast<std::size_t>(id);
    if (at >= definition.vocabulary.size()) definition.vocabulary.resize(at + 1);
    std::string& slot = definition.vocabulary[at];
    if (!slot.empty())
      vocab[token].reject(fmt::format("another id than that of \"{}\"", to_byte_level(slot)));
    slot = std::move(*bytes);
    ids.emplace(token, id);
  }
  while (!definition.vocabulary.empty() && definition.vocabulary.back().empty())
    definition.vocabulary.pop_back();
  return ids;
}

/// A merge is ["a", "b"], or "a b" in older files.
std::pair<std::string, std::string> read_pair(const JsonView& merge) {
  if (merge.value().is_array()) {
    if (merge.array_size() != 2) merge.reject("two tokens");
    return {merge[0].string(), merge[1].string()};
  }
  const std::string& text = merge.string();
  const std::size_t space = text.find(' ');
  if (space == text.npos || text.find(' ', space + 1) != text.npos) {
    merge.reject("two tokens with a space between");
  }
  return {text.substr(0, space), text.substr(space + 1)};
}

std::vector<BpeMerge> read_merges(const JsonView& list, const Ids& ids) {
  std::vector<BpeMerge> merges(list.array_size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const auto [left, right] = read_pair(list[i]);
    const auto id_of = [&](const std::string& token) {
      const auto found = ids.find(token);
      if (found == ids.end())
        list[i].reject(fmt::format("tokens of model.vocab, which \"{}\" is not", token));
      return found->second;
    };
    merges[i] = {id_of(left), id_of(right), id_of(left + right)};
  }
  return merges;
}

}  // namespace

BpeDefinition read_tokenizer_json(const std::filesystem::path& path) {
  const std::string file = path.string();
  const nlohmann::json json = parse_json(read_file(path), file);
  const JsonView root(file, json), model = root["model"];
  BpeDefinition definition;
  definition.nfc = read_nfc(root["normalizer"]);
  definition.split_pattern = read_split_pattern(root["pre_tokenizer"]);
  definition.added_tokens = read_added_tokens(root["added_tokens"]);
  check_model_options(model);
  definition.ignore_merges = model["ignore_merges"].boolean_or(false);
  const Ids ids = read_vocabulary(model["vocab"], definition);
  definition.merges = read_merges(model["merges"], ids);
  return definition;
}

}  // namespace hg
