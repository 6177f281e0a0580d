#include "data/tokenizer.h"

#include <filesystem>

#include "data/bpe_tokenizer.h"
#include "data/byte_tokenizer.h"
#include "data/tokenizer_json.h"

namespace hg {

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path) {
  if (path == "byte") return std::make_unique<ByteTokenizer>();
  std::filesystem::path file = path;
  if (std::filesystem::is_directory(file)) file /= "tokenizer.json";
  return std::make_unique<BpeTokenizer>(read_tokenizer_json(file), file.string());
}

}  // namespace hg
