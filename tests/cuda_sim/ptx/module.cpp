// What a PTX file holds, without the text of its functions.
#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "core/check.h"
#include "cuda_sim/ptx/syntax.h"

namespace cuda_sim::ptx {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Calls found(what follows `start`) for every line that begins so.
template <class Found>
void for_lines(std::string_view text, std::string_view start, Found&& found) {
  const std::string wanted = "\n" + std::string(start);
  for (std::size_t at = text.find(wanted); at != std::string_view::npos;
       at = text.find(wanted, at + 1)) {
    const std::size_t begin = at + wanted.size();
    found(text.substr(begin, text.find('\n', begin) - begin));
  }
}

/// ".align 4 .b8 name[8];", of which [] has no size.
SharedArray parse_array(std::string_view declaration) {
  const std::size_t open = declaration.find('['), space = declaration.rfind(' ', open);
  HG_CHECK(open != std::string_view::npos && declaration.find(" .b8 ") == space - 4,
           ".shared {}: expected an array of .b8", declaration);
  std::uint32_t bytes = 0;
  std::from_chars(declaration.data() + open + 1, declaration.data() + declaration.size(), bytes);
  return {std::string(declaration.substr(space + 1, open - space - 1)), bytes,
          bytes == 0 ? kDynamicShared : 0};
}

}  // namespace

std::string plain_name(std::string_view mangled) {
  std::string result(mangled);
  const std::string_view mark = "_GLOBAL__N_";
  for (std::size_t at = result.find(mark); at != std::string::npos;
       at = result.find(mark, at + 1)) {
    std::size_t digits = at;
    while (digits > 0 && is_digit(result[digits - 1])) --digits;
    std::size_t length = 0;
    std::from_chars(result.data() + digits, result.data() + at, length);
    if (length < mark.size() || at + length > result.size()) continue;
    result.replace(digits, at + length - digits, "12_GLOBAL__N_1");
  }
  return result;
}

Module::Module(const std::string& path) : path_(path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream all;
  all << file.rdbuf();
  HG_CHECK(file.good(), "{}: cannot be read", path);
  text_ = std::move(all).str();

  for (const std::string_view visibility : {"", ".visible ", ".weak "}) {
    const std::string start = std::string(visibility) + ".entry ";
    for_lines(text_, start, [&](std::string_view rest) {
      entries_.push_back({plain_name(rest.substr(0, rest.find('('))),
                          static_cast<std::size_t>(rest.data() - text_.data())});
    });
  }
  for (const std::string_view start : {".extern .shared ", ".shared ", ".global ", ".const "}) {
    for_lines(text_, start, [&](std::string_view rest) {
      HG_CHECK(start.ends_with(".shared "), "{}: {}{}: variables of a module are not implemented",
               path, start, rest);
      shared_.push_back(parse_array(rest));
    });
  }
  for_lines(text_, "\t.file\t", [&](std::string_view rest) {
    std::size_t number = 0;
    std::from_chars(rest.data(), rest.data() + rest.size(), number);
    const std::size_t open = rest.find('"') + 1;
    files_.resize(std::max(files_.size(), number + 1));
    files_[number] = rest.substr(open, rest.find('"', open) - open);
  });
}

}  // namespace cuda_sim::ptx
