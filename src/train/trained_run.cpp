#include "train/trained_run.h"

#include "core/file.h"
#include "train/checkpoint/checkpoint.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

fs::path find_checkpoint(const fs::path& folder, const fs::path& checkpoint) {
  HG_CHECK(fs::is_directory(folder), "{}: there is no such run folder", folder.string());
  const fs::path all = folder / "checkpoints";
  if (!checkpoint.empty()) {
    // A bare name is one of the run's; "../.." behind the run's folder could lead anywhere.
    const bool named = !checkpoint.has_parent_path() && fs::is_directory(all / checkpoint);
    const fs::path found = named ? all / checkpoint : checkpoint;
    HG_CHECK(fs::is_directory(found), "{}: there is no such checkpoint, here or in {}",
             checkpoint.string(), all.string());
    return found;
  }
  const auto newest = newest_checkpoint(all);
  HG_CHECK(newest, "{}: no checkpoint in {}", folder.string(), all.string());
  return *newest;
}

}  // namespace

TrainedRun open_trained_run(const fs::path& folder, const fs::path& checkpoint) {
  TrainedRun run{.checkpoint = find_checkpoint(folder, checkpoint), .config = {}, .tokenizer = {}};
  const fs::path path = run.checkpoint / "config.yaml";
  run.config = parse_config<RunConfig>(read_file(path), path.string()).value;
  run.tokenizer = load_tokenizer(run.config.data.tokenizer);
  HG_CHECK(run.tokenizer->vocab_size() <= run.config.model.vocab_size,
           "{}: tokenizer {} has {} ids, more than model.vocab_size = {}", path.string(),
           run.config.data.tokenizer, run.tokenizer->vocab_size(), run.config.model.vocab_size);
  return run;
}

}  // namespace hg
