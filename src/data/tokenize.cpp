#include "data/tokenize.h"

#include <xxhash.h>

#include <optional>

#include "core/check.h"
#include "core/parallel.h"
#include "data/token_writer.h"

namespace hg {
namespace {

constexpr std::size_t kRunBytes = std::size_t{4} << 20;

bool held_out(const std::string& text, double share) {
  const double place = static_cast<double>(XXH3_64bits(text.data(), text.size())) * 0x1p-64;
  return place < share;
}

std::vector<std::int32_t> encode(const Tokenizer& tokenizer, const Document& document) {
  try {
    auto ids = tokenizer.encode(document.text);
    ids.push_back(tokenizer.eod());
    return ids;
  } catch (const Error& e) {
    fail("{}: document at line {}: {}", document.file.string(), document.line, e.what());
  }
}

}  // namespace

TokenizeSummary tokenize(const Tokenizer& tokenizer, const TokenizeOptions& options,
                         const std::function<void(std::int64_t)>& progress) {
  HG_CHECK(options.validation >= 0 && options.validation < 1,
           "the validation share is {}, expected 0 up to 1", options.validation);
  TokenWriter train(options.output + "_train", tokenizer.vocab_size());
  std::optional<TokenWriter> validation;
  if (options.validation > 0)
    validation.emplace(options.output + "_validation", tokenizer.vocab_size());

  TokenizeSummary summary;
  read_corpus(options.files, options.corpus, kRunBytes, [&](std::vector<Document>& run) {
    std::vector<std::vector<std::int32_t>> ids(run.size());
    parallel_for(static_cast<std::int64_t>(run.size()), [&](std::int64_t task) {
      const auto i = static_cast<std::size_t>(task);
      ids[i] = encode(tokenizer, run[i]);
    });
    std::int64_t bytes = 0;
    for (std::size_t i = 0; i < run.size(); ++i) {
      const bool out = held_out(run[i].text, options.validation);
      (out ? *validation : train).add_document(ids[i]);
      bytes += static_cast<std::int64_t>(run[i].text.size());
    }
    summary.bytes += bytes;
    progress(bytes);
  });
  HG_CHECK(train.tokens() > 0,
           "every document was held out for validation; give more text or a smaller share");
  summary.train = {train.documents(), train.tokens()};
  if (validation) {
    summary.validation = {validation->documents(), validation->tokens()};
    validation->finish();
  }
  train.finish();
  return summary;
}

}  // namespace hg
