#include "train/checkpoint/state_file.h"

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/gpu.h"

namespace hg {
namespace fs = std::filesystem;

Fingerprints fingerprints_of(const TokenFile& train, const TokenFile* validation,
                             const Tokenizer& tokenizer) {
  Fingerprints result;
  result["data.train"] = fmt::format("{:016x}", train.fingerprint());
  if (validation != nullptr)
    result["data.validation"] = fmt::format("{:016x}", validation->fingerprint());
  result["data.tokenizer"] = tokenizer.fingerprint();
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
                                       {"guard", to_json(state.guard)},
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
    saved.state.guard = guard_state_of(json.at("guard"));
    saved.fingerprints = json.at("fingerprints").get<Fingerprints>();
    return saved;
  } catch (const nlohmann::json::exception& e) {
    fail("{}: not a run's state: {}", path.string(), e.what());
  }
}

}  // namespace hg
