#include "dist/connect.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "dist/comm_mpi.h"
#include "dist/comm_self.h"
#include "dist/gather_rows.h"
#include "dist/ranks_words.h"

namespace hg {
namespace {

/// One rank's facts as it sends them: text, each padded with zeros.
struct Row {
  static constexpr std::size_t kText = 60;
  std::array<char, kText> size{}, build{}, config{};
};

std::array<char, Row::kText> padded(const std::string& text) {
  std::array<char, Row::kText> bytes{};
  text.copy(bytes.data(), bytes.size());
  return bytes;
}

/// "ranks 0, 1 have 'a', rank 2 has 'b'"; empty if all have the same.
std::string difference(const std::vector<Row>& rows, std::array<char, Row::kText> Row::*fact) {
  std::map<std::string, std::vector<int>> ranks;  // by value
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto& bytes = rows[r].*fact;
    ranks[std::string(bytes.begin(), std::ranges::find(bytes, '\0'))].push_back(
        static_cast<int>(r));
  }
  if (ranks.size() == 1) return {};
  std::string text;
  for (const auto& [value, who] : ranks) {
    text += fmt::format("{}{} {} '{}'", text.empty() ? "" : ", ", ranks_words(who),
                        who.size() == 1 ? "has" : "have", value);
  }
  return text;
}

}  // namespace

std::unique_ptr<Comm> connect(const World& world) {
  if (world.size == 1) return alone();
  auto comm = mpi_world();
  HG_CHECK(comm->size() == world.size && comm->rank() == world.rank,
           "found {}, but for MPI this is rank {} of {}: start the ranks with mpirun, or with srun "
           "--mpi=pmix",
           world.sentence(), comm->rank(), comm->size());
  return comm;
}

void agree(int size, const TextGather& gather, const WorldFacts& facts) {
  const Row own = {.size = padded(std::to_string(facts.size)),
                   .build = padded(facts.build),
                   .config = padded(facts.config)};
  std::vector<Row> rows;
  for (const std::string& theirs : gather({reinterpret_cast<const char*>(&own), sizeof own})) {
    HG_CHECK(theirs.size() == sizeof(Row), "rank {} says {} bytes of itself, expected {}",
             rows.size(), theirs.size(), sizeof(Row));
    std::memcpy(&rows.emplace_back(), theirs.data(), sizeof(Row));
  }
  std::string text;
  const std::pair<const char*, std::array<char, Row::kText> Row::*> kFacts[] = {
      {"world sizes", &Row::size}, {"builds", &Row::build}, {"configs", &Row::config}};
  for (const auto& [name, fact] : kFacts) {
    const std::string difference_of_fact = difference(rows, fact);
    if (difference_of_fact.empty()) continue;
    text += fmt::format("{}different {}: {}", text.empty() ? "" : "; ", name, difference_of_fact);
  }
  HG_CHECK(text.empty(), "the ranks do not run the same thing: {}", text);
  HG_CHECK(facts.size == size, "every rank was told of {} ranks, but {} are connected", facts.size,
           size);
}

void agree(Comm& world, const WorldFacts& facts) {
  const auto gather = [&](const std::string& own) {
    Row row;
    std::memcpy(&row, own.data(), sizeof row);
    std::vector<std::string> texts;
    for (const Row& theirs : gather_rows<Row>(world, {&row, 1}, "agreement of ranks"))
      texts.emplace_back(reinterpret_cast<const char*>(&theirs), sizeof theirs);
    return texts;
  };
  agree(world.size(), gather, facts);
}

}  // namespace hg
