// Writes tokenizer.json with its keys in the order in which Hugging Face's tokenizers writes them.
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "data/byte_level.h"
#include "data/tokenizer_json.h"

namespace hg {
namespace {

using nlohmann::ordered_json;

ordered_json byte_level() {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", false},
          {"use_regex", false}};
}

ordered_json added_tokens(const BpeDefinition& definition) {
  auto list = ordered_json::array();
  for (const AddedToken& token : definition.added_tokens) {
    list.push_back({{"id", token.id},
                    {"content", token.content},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

ordered_json pre_tokenizer(const BpeDefinition& definition) {
  ordered_json split = {{"type", "Split"},
                        {"pattern", {{"Regex", definition.split_pattern}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", {std::move(split), byte_level()}}};
}

ordered_json model(const BpeDefinition& definition) {
  // Straight into the object's list of members: its operator[] looks a key up by walking all of
  // them.
  ordered_json::object_t vocab;
  vocab.reserve(definition.vocabulary.size());
  for (std::size_t id = 0; id < definition.vocabulary.size(); ++id) {
    vocab.Container::emplace_back(to_byte_level(definition.vocabulary[id]), id);
  }
  auto merges = ordered_json::array();
  const auto text = [&](std::int32_t id) {
    return to_byte_level(definition.vocabulary[static_cast<std::size_t>(id)]);
  };
  for (const BpeMerge& merge : definition.merges) {
    merges.push_back(ordered_json::array({text(merge.left), text(merge.right)}));
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", definition.ignore_merges},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

}  // namespace

void write_tokenizer_json(const std::filesystem::path& path, const BpeDefinition& definition) {
  const ordered_json root = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added_tokens(definition)},
      {"normalizer", definition.nfc ? ordered_json{{"type", "NFC"}} : ordered_json()},
      {"pre_tokenizer", pre_tokenizer(definition)},
      {"post_processor", byte_level()},
      {"decoder", byte_level()},
      {"model", model(definition)}};
  write_file(path, root.dump(2) + "\n");
}

}  // namespace hg
