// Hugging Face's tokenizer.json: the part of it that byte-level BPE needs.
#pragma once

#include <filesystem>

#include "data/bpe_definition.h"

namespace hg {

/// Reads the definition. Truncation, padding, decoder and post-processor do not bear on the ids of
/// plain text and are not looked at; anything else that is not supported is an error that names
/// file and key.
BpeDefinition read_tokenizer_json(const std::filesystem::path& path);

/// Replaces `path` with the definition as Hugging Face's tokenizers reads it. The split pattern is
/// written out, and the added tokens' ids must follow the vocabulary's, which must have no gaps.
void write_tokenizer_json(const std::filesystem::path& path, const BpeDefinition& definition);

}  // namespace hg
