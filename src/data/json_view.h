// A value in a JSON file that knows where it stands, so that errors name file and key.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hg {

/// Refers to the file's name and to the value; both must outlive it.
class JsonView {
 public:
  JsonView(const std::string& file, const nlohmann::json& root) : JsonView(file, root, {}) {}

  /// The member `key` of an object, null if there is none. Throws if this is no object.
  JsonView operator[](std::string_view key) const;
  /// An element of an array, which this must be.
  JsonView operator[](std::size_t index) const;

  const nlohmann::json& value() const { return value_; }
  bool is_null() const { return value_.is_null(); }
  std::size_t array_size() const;
  const std::string& string() const;
  bool boolean() const;
  bool boolean_or(bool absent) const { return is_null() ? absent : boolean(); }
  std::int64_t integer(std::int64_t least, std::int64_t most) const;
  double number() const;

  /// Throws unless the value is this one.
  void expect(const nlohmann::json& wanted) const;
  /// Throws: what the file holds here, and `expected`.
  [[noreturn]] void reject(std::string_view expected) const;

 private:
  JsonView(const std::string& file, const nlohmann::json& value, std::string key)
      : file_(file), value_(value), key_(std::move(key)) {}

  const std::string& file_;
  const nlohmann::json& value_;
  std::string key_;  // from the root on, such as model.merges[3]
};

/// Parses the text of a file; a mistake in it is an error with the place.
nlohmann::json parse_json(std::string_view text, const std::string& file);

}  // namespace hg
