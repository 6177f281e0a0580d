// headgate generate: continues a prompt with a trained model.
#include <cstdio>

#include "commands.h"
#include "train/checkpoint/checkpoint.h"
#include "train/generate.h"
#include "train/trained_run.h"

namespace hg::tools {
namespace {

struct GenerateOptions {
  std::string run, prompt;
  std::int64_t max_tokens = 200;
  SamplingOptions sampling;
};

/// Prints each token's text as it comes; a character that is split over tokens waits for its end.
class Stream {
 public:
  explicit Stream(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void add(std::int32_t token) {
    pending_.push_back(token);
    const std::string text = tokenizer_.decode(pending_);
    if (ends_inside_character(text)) return;
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
    pending_.clear();
  }

 private:
  static bool ends_inside_character(const std::string& text) {
    for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
      const auto byte = static_cast<unsigned char>(text[text.size() - back]);
      if ((byte & 0xC0U) == 0x80U) continue;  // a continuation: look further back
      const std::size_t length = byte >= 0xF0U ? 4 : byte >= 0xE0U ? 3 : byte >= 0xC0U ? 2 : 1;
      return length > back;
    }
    return false;
  }

  const Tokenizer& tokenizer_;
  std::vector<std::int32_t> pending_;
};

void generate(GenerateOptions options) {
  const TrainedRun run = open_trained_run(options.run);
  const Tokenizer* tokenizer = run.tokenizer.get();
  const CpuInfo cpu = detect_cpu();
  Generator generator(run.config.model, compute_dtype(run.config.training.precision, cpu), cpu);
  load_checkpoint(run.checkpoint, generator.model());

  std::fwrite(options.prompt.data(), 1, options.prompt.size(), stdout);
  auto prompt = tokenizer->encode(options.prompt);
  if (prompt.empty()) prompt.push_back(tokenizer->eod());
  options.sampling.ids = tokenizer->vocab_size();
  Stream stream(*tokenizer);
  generator.generate(prompt, options.max_tokens, tokenizer->eod(), options.sampling,
                     [&](std::int32_t token) {
                       if (token != tokenizer->eod()) stream.add(token);
                     });
  std::fputs("\n", stdout);
}

}  // namespace

void add_generate(CLI::App& app) {
  auto* command = app.add_subcommand("generate", "Continue a prompt with a trained model");
  const auto options = std::make_shared<GenerateOptions>();
  command->add_option("--run", options->run, "Run folder with a checkpoint")->required();
  command->add_option("--prompt", options->prompt,
                      "Text to continue; empty: a document's beginning");
  command->add_option("--max-tokens", options->max_tokens, "Most tokens to generate")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--temperature", options->sampling.temperature, "0: always the likeliest token")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--top-p", options->sampling.top_p, "Share of probability to sample from")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--seed", options->sampling.seed, "Of sampling");
  command->callback([options] { generate(*options); });
}

}  // namespace hg::tools
