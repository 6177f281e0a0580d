// headgate data: from text to token files, and a look into them.
#include "commands.h"
#include "core/check.h"
#include "core/clock.h"
#include "data/bpe_trainer.h"
#include "data/convert.h"
#include "data/token_file.h"
#include "data/tokenize.h"
#include "train/metrics/progress.h"

namespace hg::tools {
namespace {

struct CorpusArguments {
  std::vector<std::string> files;
  CorpusOptions options;

  void add_to(CLI::App& command) {
    command.add_option("files", files, "Text files, or .jsonl with a text per line")->required();
    command.add_option(
        "--document-separator", options.separator,
        "In plain text, a line equal to this ends a document; otherwise a file is one");
    command.add_option("--text-key", options.text_key, "Key of the text in .jsonl");
  }
  std::vector<std::filesystem::path> paths() const { return {files.begin(), files.end()}; }
  std::int64_t bytes() const {
    std::int64_t sum = 0;
    for (const auto& file : files) {
      std::error_code error;
      const auto size = std::filesystem::file_size(file, error);
      HG_CHECK(!error, "{}: {}", file, error.message());
      sum += static_cast<std::int64_t>(size);
    }
    return sum;
  }
};

void add_tokenize(CLI::App& data) {
  auto* command = data.add_subcommand("tokenize", "Encode text into Megatron .bin/.idx files");
  const auto corpus = std::make_shared<CorpusArguments>();
  const auto options = std::make_shared<TokenizeOptions>();
  const auto tokenizer = std::make_shared<std::string>();
  corpus->add_to(*command);
  command->add_option("--tokenizer", *tokenizer, "tokenizer.json, or 'byte'")->required();
  command->add_option("--output", options->output, "PREFIX of PREFIX_train and PREFIX_validation")
      ->required();
  command->add_option("--validation", options->validation, "Share of documents held out");
  command->callback([corpus, options, tokenizer] {
    const auto start = Clock::now();
    options->files = corpus->paths();
    options->corpus = corpus->options;
    const auto model = load_tokenizer(*tokenizer);
    const auto summary = [&] {
      Progress progress("tokenize", "bytes", corpus->bytes(), stderr);
      return tokenize(*model, *options, [&](std::int64_t bytes) { progress.advance(bytes); });
    }();
    const std::int64_t tokens = summary.train.tokens + summary.validation.tokens;
    fmt::print("{}_train: {} documents, {} tokens\n", options->output, summary.train.documents,
               summary.train.tokens);
    fmt::print("{}_validation: {} documents, {} tokens\n", options->output,
               summary.validation.documents, summary.validation.tokens);
    fmt::print("{:.2f} bytes a token, {:.2f} MB/s\n",
               static_cast<double>(summary.bytes) / static_cast<double>(tokens),
               static_cast<double>(summary.bytes) / 1e6 / seconds_since(start));
  });
}

void add_inspect(CLI::App& data) {
  auto* command = data.add_subcommand("inspect", "Check token files and show what is in them");
  const auto prefix = std::make_shared<std::string>(),
             tokenizer = std::make_shared<std::string>("byte");
  const auto document = std::make_shared<std::int64_t>(0);
  command->add_option("prefix", *prefix, "PREFIX of a .bin/.idx pair")->required();
  command->add_option("--tokenizer", *tokenizer,
                      "tokenizer.json, or 'byte': its vocabulary is checked");
  command->add_option("--document", *document, "Document to show the beginning of")
      ->check(CLI::NonNegativeNumber);
  command->callback([prefix, tokenizer, document] {
    const auto model = load_tokenizer(*tokenizer);
    const TokenFile file(*prefix, model->vocab_size());
    HG_CHECK(*document < file.documents(), "{}: has no document {}, only {}", *prefix, *document,
             file.documents());
    const auto mean = static_cast<double>(file.tokens()) / static_cast<double>(file.documents());
    fmt::print("{}: {} tokens in {} documents, {:.1f} each, ids below {}, fingerprint {:016x}\n",
               *prefix, file.tokens(), file.documents(), mean, model->vocab_size(),
               file.fingerprint());
    const std::int64_t begin = file.document_begin(*document);
    const std::int64_t count =
        std::min<std::int64_t>(60, file.document_begin(*document + 1) - begin);
    std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
    file.copy(begin, count, ids.data());
    fmt::print("document {} begins: {}\n", *document, model->decode(ids));
  });
}

void add_train_tokenizer(CLI::App& data) {
  auto* command = data.add_subcommand("train-tokenizer", "Train a byte-level BPE on text");
  const auto corpus = std::make_shared<CorpusArguments>();
  const auto vocab_size = std::make_shared<std::int64_t>(4096);
  const auto output = std::make_shared<std::string>();
  corpus->add_to(*command);
  command->add_option("--vocab-size", *vocab_size,
                      "Ids, with 256 bytes and the end-of-document id");
  command->add_option("--output", *output, "tokenizer.json to write")->required();
  command->callback([corpus, vocab_size, output] {
    const auto start = Clock::now();
    BpeTrainer trainer;
    read_corpus(corpus->paths(), corpus->options, std::size_t{4} << 20,
                [&](std::vector<Document>& run) {
                  std::vector<std::string_view> texts;
                  for (const Document& document : run) texts.push_back(document.text);
                  trainer.add(texts);
                });
    trainer.train(*vocab_size, *output);
    fmt::print("{}: {} ids, {:.1f} s\n", *output, *vocab_size, seconds_since(start));
  });
}

struct ConvertArguments {
  std::vector<std::string> shards;
  std::string output, element;
  FlatShards format;
  std::int64_t begins = -1, ends = -1, vocab_size = 0;
};

void convert_shards(ConvertArguments& arguments) {
  FlatShards& format = arguments.format;
  if (arguments.element == "u16") format.headerless = token_format::Type::u16;
  if (arguments.element == "i32") format.headerless = token_format::Type::i32;
  HG_CHECK(arguments.begins < 0 || arguments.ends < 0,
           "give --document-begins or --document-ends, not both");
  if (arguments.begins >= 0) format.mark = FlatShards::Mark::begins;
  if (arguments.ends >= 0) format.mark = FlatShards::Mark::ends;
  format.mark_id = static_cast<std::int32_t>(std::max(arguments.begins, arguments.ends));
  TokenWriter out(arguments.output, arguments.vocab_size);
  const std::vector<std::filesystem::path> shards(arguments.shards.begin(), arguments.shards.end());
  convert(shards, format, out);
  out.finish();
  fmt::print("{}: {} documents, {} tokens\n", arguments.output, out.documents(), out.tokens());
}

void add_convert(CLI::App& data) {
  auto* command =
      data.add_subcommand("convert", "Turn llm.c, LLMQ or headerless shards into .bin/.idx files");
  const auto arguments = std::make_shared<ConvertArguments>();
  command->add_option("shards", arguments->shards, "Shards, in order")->required();
  command->add_option("--output", arguments->output, "PREFIX of the pair to write")->required();
  command->add_option("--vocab-size", arguments->vocab_size, "Every id must be below this")
      ->required();
  command
      ->add_option("--headerless", arguments->element,
                   "Element type of shards without a header: u16 or i32")
      ->check(CLI::IsMember({"u16", "i32"}));
  command->add_option("--document-begins", arguments->begins, "Id that each document begins with");
  command->add_option("--document-ends", arguments->ends, "Id that each document ends with");
  command->callback([arguments] { convert_shards(*arguments); });
}

}  // namespace

void add_data(CLI::App& app) {
  auto* data = app.add_subcommand("data", "Prepare and inspect training data");
  data->require_subcommand(1);
  add_tokenize(*data);
  add_inspect(*data);
  add_convert(*data);
  add_train_tokenizer(*data);
}

}  // namespace hg::tools
