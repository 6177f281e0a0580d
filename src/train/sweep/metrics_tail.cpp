#include "train/sweep/metrics_tail.h"

#include <sys/stat.h>

#include <fstream>

#include "train/metrics/json_lines.h"

namespace hg {

MetricsTail::MetricsTail(std::filesystem::path file, const RunConfig& config,
                         const DivergedConfig& diverged)
    : file_(std::move(file)), fresh_(config, diverged), trace_(fresh_) {}

void MetricsTail::follow() {
  struct stat info {};
  if (::stat(file_.c_str(), &info) != 0) return;
  if (info.st_ino != inode_ || info.st_size < read_) {
    inode_ = info.st_ino;
    read_ = 0;
    trace_ = fresh_;
  }
  std::ifstream file(file_, std::ios::binary);
  file.seekg(read_);
  std::string text(std::istreambuf_iterator<char>(file), {});
  text.resize(text.rfind('\n') + 1);  // npos + 1 is 0: no whole line yet
  read_ += std::ssize(text);
  for_each_json_line(text, file_.string(),
                     [&](const nlohmann::json& row, std::int64_t) { trace_.add(row); });
}

}  // namespace hg
