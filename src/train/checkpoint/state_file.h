// A checkpoint's state.json: where the run stands, and what it was made from.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "data/token_file.h"
#include "data/tokenizer.h"
#include "train/trainer.h"

namespace hg {

/// What a run reads, by config key, as a digest that changes when its content does.
using Fingerprints = std::map<std::string, std::string>;

/// Of the token files, of which the held-out one may be missing, and the tokenizer.
Fingerprints fingerprints_of(const TokenFile& train, const TokenFile* validation,
                             const Tokenizer& tokenizer);

/// What computes, as far as sums depend on it: "AVX-512, AVX512-BF16", or a GPU's name.
std::string processor_of(const Context& ctx);

struct SavedState {
  TrainState state;
  Fingerprints fingerprints;
};

std::string state_to_json(const SavedState& saved);
/// Throws if the checkpoint has none, or not one.
SavedState read_state(const std::filesystem::path& checkpoint);

}  // namespace hg
