#include "data/corpus.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "core/check.h"
#include "core/file.h"

namespace hg {
namespace {

/// Gathers documents and hands them on in runs.
class Runs {
 public:
  Runs(std::size_t bytes, const std::function<void(std::vector<Document>&)>& fn)
      : most_(bytes), fn_(fn) {}

  void add(Document document) {
    if (document.text.find_first_not_of(" \t\r\n") == std::string::npos) return;
    held_ += document.text.size();
    documents_.push_back(std::move(document));
    ++total_;
    if (held_ >= most_) hand_on();
  }
  void hand_on() {
    if (!documents_.empty()) fn_(documents_);
    documents_.clear();
    held_ = 0;
  }
  std::int64_t total() const { return total_; }

 private:
  std::size_t most_, held_ = 0;
  std::int64_t total_ = 0;
  const std::function<void(std::vector<Document>&)>& fn_;
  std::vector<Document> documents_;
};

/// Calls fn(line, number) for each line, without its end.
template <class Fn>
void for_each_line(std::string_view text, Fn&& fn) {
  std::int64_t number = 1;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    fn(text.substr(0, end), number++);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

void read_jsonl(const std::filesystem::path& file, std::string_view text, const std::string& key,
                Runs& runs) {
  for_each_line(text, [&](std::string_view line, std::int64_t number) {
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) return;
    try {
      runs.add({nlohmann::json::parse(line).at(key).get<std::string>(), file, number});
    } catch (const nlohmann::json::exception& e) {
      fail("{}:{}: expected a JSON object with a string '{}': {}", file.string(), number, key,
           e.what());
    }
  });
}

void read_text(const std::filesystem::path& file, std::string_view text, std::string_view separator,
               Runs& runs) {
  if (separator.empty()) {
    runs.add({std::string(text), file, 1});
    return;
  }
  const char* begin = text.data();
  std::int64_t first_line = 1;
  const auto end_document = [&](const char* end) {
    runs.add({std::string(begin, end), file, first_line});
  };
  for_each_line(text, [&](std::string_view line, std::int64_t number) {
    if (line != separator) return;
    end_document(line.data());
    begin = std::min(line.data() + line.size() + 1, text.data() + text.size());
    first_line = number + 1;
  });
  end_document(text.data() + text.size());
}

}  // namespace

void read_corpus(const std::vector<std::filesystem::path>& files, const CorpusOptions& options,
                 std::size_t bytes, const std::function<void(std::vector<Document>&)>& fn) {
  Runs runs(bytes, fn);
  for (const auto& file : files) {
    const MappedFile mapped(file);
    const std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()),
                                mapped.bytes().size());
    if (file.extension() == ".jsonl") {
      read_jsonl(file, text, options.text_key, runs);
    } else {
      read_text(file, text, options.separator, runs);
    }
  }
  runs.hand_on();
  HG_CHECK(runs.total() > 0, "{}{}: no text in it: an empty corpus", files.front().string(),
           files.size() > 1 ? fmt::format(" and {} more files", files.size() - 1) : "");
}

}  // namespace hg
