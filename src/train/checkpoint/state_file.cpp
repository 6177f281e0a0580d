#include "train/checkpoint/state_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "core/file.h"
#include "core/gpu.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

std::string fingerprint_of_tokens(const std::string& prefix) {
  constexpr std::size_t kEnds = std::size_t{1} << 20;
  const MappedFile tokens(prefix + ".bin");
  const auto bytes = tokens.bytes();
  Digest ends;
  ends.add(bytes.first(std::min(kEnds, bytes.size())));
  ends.add(bytes.last(std::min(kEnds, bytes.size())));
  return fmt::format("{} bytes, {}, index {}", bytes.size(), ends.hex(),
                     digest_of_file(prefix + ".idx").hex());
}

}  // namespace

Fingerprints fingerprints_of(const DataConfig& data) {
  Fingerprints result;
  result["data.train"] = fingerprint_of_tokens(data.train);
  if (!data.validation.empty()) result["data.validation"] = fingerprint_of_tokens(data.validation);
  const bool file = fs::is_regular_file(data.tokenizer);
  result["data.tokenizer"] = file ? digest_of_file(data.tokenizer).hex() : data.tokenizer;
  return result;
}

std::string processor_of(const Context& ctx) {
  return ctx.gpu ? ctx.gpu->description() : ctx.cpu.to_string();
}

std::string state_to_json(const SavedState& saved) {
  const TrainState& state = saved.state;
  const nlohmann::ordered_json json = {{"step", state.step},
                                       {"samples", state.samples},
                                       {"tokens", state.tokens},
                                       {"recent_losses", state.recent_losses},
                                       {"fingerprints", saved.fingerprints}};
  return json.dump(2) + "\n";
}

SavedState read_state(const fs::path& checkpoint) {
  const fs::path path = checkpoint / "state.json";
  const std::string text = read_file(path);
  try {
    const auto json = nlohmann::json::parse(text);
    SavedState saved;
    saved.state.step = json.at("step");
    saved.state.samples = json.at("samples");
    saved.state.tokens = json.at("tokens");
    saved.state.recent_losses = json.at("recent_losses").get<std::vector<double>>();
    saved.fingerprints = json.at("fingerprints").get<Fingerprints>();
    return saved;
  } catch (const nlohmann::json::exception& e) {
    fail("{}: not a run's state: {}", path.string(), e.what());
  }
}

}  // namespace hg
