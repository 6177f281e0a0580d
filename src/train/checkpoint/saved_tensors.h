// The tensors of a checkpoint, whoever saved which part of them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "train/checkpoint/pieces.h"
#include "train/safetensors.h"

namespace hg {

/// Tensors of the files PART.safetensors or PART-rank*.safetensors of a folder, put together from
/// the pieces of all ranks. Reading is by runs of the whole tensor, so that a rank of any layout
/// takes just its own part out of files of any other.
class SavedTensors {
 public:
  SavedTensors(const std::filesystem::path& folder, const std::string& part);

  /// Names of whole tensors, sorted.
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return saved_.contains(name); }
  const Shape& shape(const std::string& name) const;

  /// Calls fn(begin, values) for runs that together are the piece: `values`, f32 or bf16, are the
  /// piece's elements from `begin` on. Throws if the tensor is missing, has another shape, or if
  /// elements are missing.
  template <class Fn>
  void read(const std::string& name, const Piece& piece, Fn&& fn) const {
    const Saved& saved = find(name, piece.whole);
    for_piece_runs(piece, [&](const PieceRun& run) {
      for (std::int64_t done = 0; done < run.count;) {
        const ConstTensor values = saved_run(name, saved, run.whole + done, run.count - done);
        fn(run.begin + done, values);
        done += values.numel();
      }
    });
  }

  /// All of a tensor, f32.
  std::vector<float> whole(const std::string& name) const;

 private:
  struct Run {
    std::int64_t whole;  // its first element in the whole tensor
    ConstTensor values;
  };
  struct Saved {
    Shape shape;
    std::vector<Run> runs;  // in the order of the whole
  };
  void add_file(const std::filesystem::path& path);
  const Saved& find(const std::string& name, const Shape& shape) const;
  /// Values from element `begin` of the whole tensor on: as many as lie together, at most `most`.
  ConstTensor saved_run(const std::string& name, const Saved& saved, std::int64_t begin,
                        std::int64_t most) const;

  std::string place_;  // for errors
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Saved> saved_;
};

}  // namespace hg
