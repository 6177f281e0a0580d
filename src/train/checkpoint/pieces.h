// How a file says which part of which parameter a tensor of it is.
#pragma once

#include <map>
#include <string>

#include "dist/sharding.h"

namespace hg {

/// Pieces by tensor name.
using Pieces = std::map<std::string, Piece, std::less<>>;

/// The key of a safetensors file's metadata that holds them.
inline constexpr char kPiecesKey[] = "headgate.pieces";

/// As JSON: {"NAME": {"whole": [512, 64], "split": "rows", "share": 1, "shares": 4, "begin": 0,
/// "numel": 8192}, ...}.
std::string pieces_to_json(const Pieces& pieces);

/// Throws, beginning with `place`, if a piece is not one.
Pieces pieces_from_json(const std::string& text, const std::string& place);

}  // namespace hg
