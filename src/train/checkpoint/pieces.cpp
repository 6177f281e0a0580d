#include "train/checkpoint/pieces.h"

#include <nlohmann/json.hpp>

namespace hg {
namespace {

using Json = nlohmann::json;

constexpr std::pair<Split, std::string_view> kSplits[] = {
    {Split::none, "none"},       {Split::partial, "none"},  {Split::rows, "rows"},
    {Split::columns, "columns"}, {Split::halves, "halves"}, {Split::experts, "experts"}};

std::string_view name_of(Split split) {
  return std::ranges::find(kSplits, split, &std::pair<Split, std::string_view>::first)->second;
}

Split split_of(const std::string& name) {
  const auto found = std::ranges::find(kSplits, name, &std::pair<Split, std::string_view>::second);
  HG_CHECK(found != std::end(kSplits), "the unknown split '{}'", name);
  return found->first;
}

Piece piece_of(const Json& json) {
  const auto extents = json.at("whole").get<std::vector<std::int64_t>>();
  HG_CHECK(!extents.empty() && extents.size() <= Shape::kMaxRank &&
               std::ranges::all_of(extents, [](std::int64_t n) { return 0 < n && n < INT32_MAX; }),
           "the shape {}", json.at("whole").dump());
  double elements = 1;
  for (const std::int64_t extent : extents) elements *= static_cast<double>(extent);
  HG_CHECK(elements < 1e15, "the shape {}", json.at("whole").dump());
  const Piece piece{.whole = Shape(extents),
                    .split = split_of(json.at("split")),
                    .share = json.at("share"),
                    .shares = json.at("shares"),
                    .begin = json.at("begin"),
                    .numel = json.at("numel")};
  const std::int64_t axis = piece.split == Split::columns ? 1 : 0;
  const bool shared = piece.split != Split::none;
  HG_CHECK(0 <= piece.share && piece.share < piece.shares && (shared || piece.shares == 1) &&
               axis < piece.whole.rank() &&
               piece.whole[static_cast<int>(axis)] %
                       (piece.split == Split::halves ? 2 * piece.shares : piece.shares) ==
                   0,
           "share {} of {} of {} by {}", piece.share, piece.shares, piece.whole.to_string(),
           name_of(piece.split));
  const std::int64_t all = piece.whole.numel() / piece.shares;
  HG_CHECK(0 <= piece.begin && 0 <= piece.numel && piece.numel <= all &&
               piece.begin <= all - piece.numel,
           "{} elements from element {} of {}", piece.numel, piece.begin, all);
  return piece;
}

}  // namespace

std::string pieces_to_json(const Pieces& pieces) {
  Json json = Json::object();
  for (const auto& [name, piece] : pieces) {
    Json whole = Json::array();
    for (int axis = 0; axis < piece.whole.rank(); ++axis) whole.push_back(piece.whole[axis]);
    json[name] = {{"whole", std::move(whole)}, {"split", name_of(piece.split)},
                  {"share", piece.share},      {"shares", piece.shares},
                  {"begin", piece.begin},      {"numel", piece.numel}};
  }
  return json.dump();
}

Pieces pieces_from_json(const std::string& text, const std::string& place) {
  Pieces pieces;
  std::string name;
  try {
    const Json json = Json::parse(text);
    HG_CHECK(json.is_object(), "{} instead of an object", json.type_name());
    for (const auto& [key, value] : json.items()) {
      name = key;
      pieces.emplace(key, piece_of(value));
    }
  } catch (const std::exception& e) {
    fail("{}: {} '{}' is not a piece: {}", place, kPiecesKey, name, e.what());
  }
  return pieces;
}

}  // namespace hg
