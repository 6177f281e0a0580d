#include "dist/nccl/greeting.h"

#include <map>
#include <vector>

#include "core/check.h"
#include "dist/ranks_words.h"

namespace hg {
namespace {

using Values = std::map<std::string, std::vector<int>>;  // the ranks that say each of them

/// A line each, but for the id, which is bytes.
std::string to_text(const NcclGreeting& greeting) {
  return fmt::format("{}\n{}\n", greeting.version, greeting.problem) + greeting.id;
}

NcclGreeting to_greeting(const std::string& text, std::size_t rank) {
  const std::size_t first = text.find('\n'), second = text.find('\n', first + 1);
  HG_CHECK(first < second && second != std::string::npos,
           "rank {} says '{}' where its version of NCCL was expected", rank, text);
  return {.version = text.substr(0, first),
          .problem = text.substr(first + 1, second - first - 1),
          .id = text.substr(second + 1)};
}

}  // namespace

std::string exchange_id(const TextGather& gather, const NcclGreeting& own) {
  const std::vector<std::string> texts = gather(to_text(own));
  Values problems, versions;
  for (std::size_t r = 0; r < texts.size(); ++r) {
    const NcclGreeting theirs = to_greeting(texts[r], r);
    if (!theirs.problem.empty()) problems[theirs.problem].push_back(static_cast<int>(r));
    versions[theirs.version].push_back(static_cast<int>(r));
  }
  for (const auto& [problem, ranks] : problems) fail("{}: {}", ranks_words(ranks), problem);
  std::string text;
  for (const auto& [version, ranks] : versions) {
    text += fmt::format("{}{} {} {}", text.empty() ? "" : ", ", ranks_words(ranks),
                        ranks.size() == 1 ? "has" : "have", version);
  }
  HG_CHECK(versions.size() == 1, "the ranks have different versions of NCCL: {}", text);
  return to_greeting(texts[0], 0).id;
}

}  // namespace hg
