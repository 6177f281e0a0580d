// From text to token data: what `headgate data tokenize` does.
#pragma once

#include "data/corpus.h"
#include "data/tokenizer.h"

namespace hg {

struct TokenizeOptions {
  std::vector<std::filesystem::path> files;
  CorpusOptions corpus;
  std::string output;        // token data are written to OUTPUT_train and OUTPUT_validation
  double validation = 0.01;  // share of documents held out; by a hash of the text, so that equal
                             // texts stay together
};

struct TokenizeSummary {
  struct Split {
    std::int64_t documents = 0, tokens = 0;
  };
  Split train, validation;
  std::int64_t bytes = 0;  // of text
};

/// Encodes every document on all threads, each followed by the end-of-document id. `progress` is
/// told the bytes of text done since the last call. An invalid document is an error that names file
/// and line; no output is left then.
TokenizeSummary tokenize(const Tokenizer& tokenizer, const TokenizeOptions& options,
                         const std::function<void(std::int64_t)>& progress);

}  // namespace hg
