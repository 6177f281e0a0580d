#include "train/checkpoint/saved_tensors.h"

#include <algorithm>

namespace hg {

namespace fs = std::filesystem;

SavedTensors::SavedTensors(const fs::path& folder, const std::string& part)
    : place_((folder / part).string()) {
  std::vector<fs::path> paths;
  std::error_code ignored;  // no folder: no file
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name == part + ".safetensors" ||
        (name.starts_with(part + "-rank") && name.ends_with(".safetensors")))
      paths.push_back(entry.path());
  }
  HG_CHECK(!paths.empty(), "{}: there is no {}.safetensors, nor {}-rank*.safetensors",
           folder.string(), part, part);
  std::ranges::sort(paths);
  for (const fs::path& path : paths) add_file(path);
  for (auto& [name, saved] : saved_) std::ranges::sort(saved.runs, {}, &Run::whole);
}

void SavedTensors::add_file(const fs::path& path) {
  const SafetensorsFile& file = *files_.emplace_back(std::make_unique<SafetensorsFile>(path));
  const auto found = file.metadata().find(kPiecesKey);
  const Pieces pieces =
      found == file.metadata().end() ? Pieces{} : pieces_from_json(found->second, path.string());
  for (const std::string& name : file.names()) {
    const ConstTensor tensor = file.tensor(name);
    const auto it = pieces.find(name);
    const Piece piece =
        it != pieces.end() ? it->second : Piece{.whole = tensor.shape(), .numel = tensor.numel()};
    HG_CHECK(tensor.numel() == piece.numel, "{}: tensor '{}' is {}, its piece has {} elements",
             path.string(), name, tensor.shape().to_string(), piece.numel);
    Saved& saved = saved_.try_emplace(name, Saved{piece.whole, {}}).first->second;
    HG_CHECK(saved.shape == piece.whole, "{}: tensor '{}' is a piece of {}, in another file of {}",
             path.string(), name, piece.whole.to_string(), saved.shape.to_string());
    const ConstTensor flat = tensor.view({tensor.numel()});
    for_piece_runs(piece, [&](const PieceRun& run) {
      saved.runs.push_back({run.whole, flat.slice(0, run.begin, run.begin + run.count)});
    });
  }
}

std::vector<std::string> SavedTensors::names() const {
  std::vector<std::string> names;
  for (const auto& [name, saved] : saved_) names.push_back(name);
  return names;
}

const Shape& SavedTensors::shape(const std::string& name) const {
  const auto it = saved_.find(name);
  HG_CHECK(it != saved_.end(), "{}: has no tensor '{}'; is it a checkpoint of this model?", place_,
           name);
  return it->second.shape;
}

const SavedTensors::Saved& SavedTensors::find(const std::string& name,
                                              const Shape& expected) const {
  HG_CHECK(shape(name) == expected, "{}: tensor '{}' is {}, expected {}", place_, name,
           shape(name).to_string(), expected.to_string());
  return saved_.at(name);
}

ConstTensor SavedTensors::saved_run(const std::string& name, const Saved& saved, std::int64_t begin,
                                    std::int64_t most) const {
  const auto behind = std::ranges::upper_bound(saved.runs, begin, {}, &Run::whole);
  const std::int64_t skip = behind == saved.runs.begin() ? 0 : begin - std::prev(behind)->whole;
  HG_CHECK(behind != saved.runs.begin() && skip < std::prev(behind)->values.numel(),
           "{}: element {} of tensor '{}' is in none of the files", place_, begin, name);
  const ConstTensor& values = std::prev(behind)->values;
  return values.slice(0, skip, std::min(values.numel(), skip + most));
}

std::vector<float> SavedTensors::whole(const std::string& name) const {
  const Shape& all = shape(name);
  std::vector<float> result(static_cast<std::size_t>(all.numel()));
  read(name, {.whole = all, .numel = all.numel()}, [&](std::int64_t begin, const ConstTensor& run) {
    HG_CHECK(run.dtype() == DType::f32, "{}: tensor '{}' is not f32", place_, name);
    std::copy_n(run.as<float>(), run.numel(), result.data() + begin);
  });
  return result;
}

}  // namespace hg
