// Documents out of text files: what tokenising and tokenizer training read.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace hg {

struct CorpusOptions {
  /// In plain text, a line equal to this ends a document; empty: a file is one document.
  std::string separator;
  /// In .jsonl files, the key of the text in each line's object.
  std::string text_key = "text";
};

/// A document and where it came from.
struct Document {
  std::string text;
  std::filesystem::path file;
  std::int64_t line = 1;  // of its first line
};

/// Calls fn with runs of documents, in the order of the files, each run about `bytes` of text long;
/// it may move them away. Files ending in .jsonl hold one JSON object a line, all others plain
/// text. Documents without text are left out; a corpus without any document is an error.
void read_corpus(const std::vector<std::filesystem::path>& files, const CorpusOptions& options,
                 std::size_t bytes, const std::function<void(std::vector<Document>&)>& fn);

}  // namespace hg
