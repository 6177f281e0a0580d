#include "data/json_view.h"

#include "core/check.h"

namespace hg {

using nlohmann::json;

JsonView JsonView::operator[](std::string_view key) const {
  if (!value_.is_object()) reject("an object");
  static const json null;
  const auto found = value_.find(key);
  return {file_, found != value_.end() ? *found : null,
          key_.empty() ? std::string(key) : fmt::format("{}.{}", key_, key)};
}

JsonView JsonView::operator[](std::size_t index) const {
  return {file_, value_.at(index), fmt::format("{}[{}]", key_, index)};
}

std::size_t JsonView::array_size() const {
  if (!value_.is_array()) reject("an array");
  return value_.size();
}

const std::string& JsonView::string() const {
  if (!value_.is_string()) reject("a string");
  return value_.get_ref<const std::string&>();
}

bool JsonView::boolean() const {
  if (!value_.is_boolean()) reject("true or false");
  return value_.get<bool>();
}

std::int64_t JsonView::integer(std::int64_t least, std::int64_t most) const {
  if (!value_.is_number_integer() || value_ < least || value_ > most) {
    reject(fmt::format("an integer from {} to {}", least, most));
  }
  return value_.get<std::int64_t>();
}

double JsonView::number() const {
  if (!value_.is_number()) reject("a number");
  return value_.get<double>();
}

void JsonView::expect(const json& wanted) const {
  if (value_ != wanted) reject(wanted.dump());
}

void JsonView::reject(std::string_view expected) const {
  constexpr std::size_t kShown = 80;
  std::string found = value_.dump(-1, ' ', /*ensure_ascii=*/true);
  if (found.size() > kShown) found = found.substr(0, kShown) + "...";
  fail("{}: {} is {}, expected {}", file_, key_.empty() ? "the file" : key_, found, expected);
}

json parse_json(std::string_view text, const std::string& file) {
  try {
    return json::parse(text);
  } catch (const json::exception& e) {
    fail("{}: {}", file, e.what());
  }
}

}  // namespace hg
