// The text of a function, statement by statement.
#include <algorithm>
#include <charconv>
#include <map>

#include "cuda_sim/ptx/cursor.h"
#include "cuda_sim/ptx/syntax.h"

namespace cuda_sim::ptx {
namespace {

class Parser {
 public:
  Parser(std::string_view text, const std::string& path, unsigned line,
         const std::vector<std::string>& files, const std::vector<SharedArray>& module_shared)
      : cursor_(text, path, line), path_(path), files_(files), module_shared_(module_shared) {
    function_.registers = kSpecialRegisters.size();
    for (std::uint32_t i = 0; i < kSpecialRegisters.size(); ++i)
      scopes_[0].names[kSpecialRegisters[i]] = i;
  }

  Function parse() {
    function_.name = cursor_.word();
    cursor_.expect('(');
    while (!cursor_.accept(')')) {
      parse_parameter();
      cursor_.accept(',');
    }
    while (!cursor_.accept('{')) parse_directive();
    scopes_.emplace_back();
    while (scopes_.size() > 1) parse_statement();
    return std::move(function_);
  }

 private:
  struct Range {
    std::uint32_t first, count;
  };
  struct Scope {
    std::map<std::string_view, std::uint32_t> names;
    std::map<std::string_view, Range> ranges;  // %r<8> by "%r"
  };

  // .param .u64 name, or .param .align 8 .b8 name[56], or .param .u64 .ptr .align 1 name
  void parse_parameter() {
    if (cursor_.word() != ".param") cursor_.fail("a parameter without .param");
    std::size_t alignment = 0, bytes = 0;
    std::string_view word = cursor_.word();
    if (word == ".align") {
      alignment = number_in(cursor_.word());
      word = cursor_.word();
    }
    bytes = size_of_type(word, cursor_);
    if (alignment == 0) alignment = bytes;
    std::string_view name = cursor_.word();
    if (name == ".ptr") {  // what it points to: .ptr .align 16
      while (cursor_.word() != ".align") continue;
      cursor_.word();
      name = cursor_.word();
    }
    if (cursor_.accept('[')) bytes *= number_in(cursor_.until(']'));
    std::size_t offset = 0;
    if (!function_.parameters.empty())
      offset = function_.parameters.back().offset + function_.parameters.back().bytes;
    offset = (offset + alignment - 1) / alignment * alignment;
    function_.parameters.push_back({std::string(name), bytes, offset});
  }

  // .maxntid 128, 1, 1
  void parse_directive() {
    const std::string_view word = cursor_.word();
    unsigned product = 1;
    do product *= static_cast<unsigned>(number_in(cursor_.word()));
    while (cursor_.accept(','));
    if (word == ".maxntid") {
      function_.max_threads = product;
    } else if (word != ".minnctapersm") {
      cursor_.fail(fmt::format("{} is not implemented", word));
    }
  }

  void parse_statement() {
    if (cursor_.accept('{')) return static_cast<void>(scopes_.emplace_back());
    if (cursor_.accept('}')) return scopes_.pop_back();
    if (cursor_.accept(';')) return;
    const unsigned line = cursor_.line();
    if (cursor_.accept('@')) return parse_guarded();
    const std::string_view word = cursor_.word();
    if (word.empty()) cursor_.fail("a statement was expected");
    if (word == ".loc") return parse_place();
    if (word == ".pragma") return static_cast<void>(cursor_.until(';'));
    if (word == ".reg") return parse_registers();
    if (word == ".shared" || word == ".local") return parse_array(word == ".local");
    if (word.front() == '.') cursor_.fail(fmt::format("{} is not implemented", word));
    if (word.back() == ':') {
      function_.labels.push_back(
          {std::string(word.substr(0, word.size() - 1)), function_.instructions.size()});
      return;
    }
    parse_instruction({}, word, line);
  }

  void parse_guarded() {
    Instruction instruction;
    instruction.guarded = true;
    instruction.guard = !cursor_.accept('!');
    instruction.guard_number = register_number(cursor_.word());
    const unsigned line = cursor_.line();
    parse_instruction(instruction, cursor_.word(), line);
  }

  void parse_instruction(Instruction instruction, std::string_view opcode, unsigned line) {
    instruction.opcode = opcode;
    instruction.where = file_ != nullptr ? Where(file_, line_) : Where(path_.c_str(), line);
    while (!cursor_.accept(';')) {
      instruction.operands.push_back(parse_operand());
      cursor_.accept(',');
    }
    function_.instructions.push_back(std::move(instruction));
  }

  // .loc 1 20 5, or with ", function_name NAME, inlined_at 1 20 5": CUDA's own functions are
  // skipped, to where the project's source calls them.
  void parse_place() {
    std::string_view line = cursor_.rest_of_line();
    while (true) {
      const std::size_t file = number_in(line.substr(line.find_first_of("0123456789")));
      line.remove_prefix(line.find(' ', line.find_first_of("0123456789")) + 1);
      const std::size_t inlined = line.find("inlined_at ");
      const bool cudas = file < files_.size() && files_[file].ends_with(".hpp");
      if (!cudas || inlined == std::string_view::npos) {
        if (number_in(line) == 0) return;  // "the same line"
        file_ = file < files_.size() ? files_[file].c_str() : path_.c_str();
        line_ = static_cast<unsigned>(number_in(line));
        return;
      }
      line.remove_prefix(inlined);
    }
  }

  // .reg .b32 %r<8>; or .reg .b16 low, high;
  void parse_registers() {
    cursor_.word();
    do {
      const std::string_view name = cursor_.word();
      std::uint32_t count = 1;
      if (cursor_.accept('<')) {
        count = static_cast<std::uint32_t>(number_in(cursor_.until('>')));
        scopes_.back().ranges[name] = {function_.registers, count};
      } else {
        scopes_.back().names[name] = function_.registers;
      }
      function_.registers += count;
    } while (cursor_.accept(','));
    cursor_.expect(';');
  }

  // .shared .align 4 .b8 name[8];
  void parse_array(bool local) {
    if (cursor_.word() != ".align") cursor_.fail("an array without .align");
    cursor_.word();
    if (cursor_.word() != ".b8") cursor_.fail("an array of another type than .b8");
    const std::string name(cursor_.word());
    cursor_.expect('[');
    const std::size_t bytes = number_in(cursor_.until(']'));
    cursor_.expect(';');
    if (!local) return static_cast<void>(add_shared({name, static_cast<std::uint32_t>(bytes), 0}));
    if (!local_name_.empty()) cursor_.fail("a second array of local memory");
    local_name_ = name;
    function_.local_bytes = bytes;
  }

  std::uint32_t add_shared(SharedArray array) {
    if (array.address == 0) {
      array.address = kSharedGap;
      for (const SharedArray& other : function_.shared)
        if (other.address != kDynamicShared)
          array.address =
              (other.address + other.bytes + 2 * kSharedGap - 1) / kSharedGap * kSharedGap;
    }
    function_.shared.push_back(array);
    return array.address;
  }

  std::uint64_t address_of(std::string_view name) {
    if (name == local_name_) return kLocalBase;
    for (const SharedArray& array : function_.shared)
      if (array.name == name) return array.address;
    for (const SharedArray& array : module_shared_)
      if (array.name == name) return add_shared(array);
    cursor_.fail(fmt::format("{} is not declared", name));
  }

  std::uint32_t register_number(std::string_view name) const {
    const std::size_t digits = name.find_last_not_of("0123456789") + 1;
    for (std::size_t i = scopes_.size(); i-- > 0;) {
      const auto exact = scopes_[i].names.find(name);
      if (exact != scopes_[i].names.end()) return exact->second;
      const auto range = scopes_[i].ranges.find(name.substr(0, digits));
      if (range == scopes_[i].ranges.end()) continue;
      const std::size_t index = number_in(name.substr(digits));
      if (index < range->second.count)
        return range->second.first + static_cast<std::uint32_t>(index);
    }
    cursor_.fail(fmt::format("register {} is not declared or not implemented", name));
  }

  bool is_register(std::string_view name) const {
    if (name.front() == '%') return true;
    for (const Scope& scope : scopes_)
      if (scope.names.contains(name)) return true;
    return false;
  }

  Operand parse_operand() {
    using Kind = Operand::Kind;
    if (cursor_.accept('[')) return parse_address();
    if (cursor_.accept('{')) {
      Operand vector{.kind = Kind::vector};
      while (!cursor_.accept('}')) {
        vector.parts.push_back(parse_operand());
        cursor_.accept(',');
      }
      return vector;
    }
    const std::string_view word = cursor_.word();
    if (word.empty()) cursor_.fail("an operand was expected");
    if (word == "_") return {};
    if (is_register(word)) {
      const Operand first{.kind = Kind::register_, .number = register_number(word)};
      if (!cursor_.accept('|')) return first;
      return {.kind = Kind::vector, .parts = {first, parse_operand()}};
    }
    if (word.starts_with("$L")) return {.kind = Kind::label, .label = std::string(word)};
    return {.kind = Kind::constant, .value = constant(word)};
  }

  Operand parse_address() {
    using Kind = Operand::Kind;
    const std::string_view base = cursor_.word();
    Operand result{.kind = Kind::address};
    if (cursor_.accept('+')) result.value = constant(cursor_.word());
    cursor_.expect(']');
    for (const Parameter& parameter : function_.parameters) {
      if (parameter.name != base) continue;
      result.kind = Kind::parameter;
      result.value += parameter.offset;
      return result;
    }
    if (is_register(base)) {
      result.parts = {{.kind = Kind::register_, .number = register_number(base)}};
    } else {
      result.parts = {{.kind = Kind::constant, .value = constant(base)}};
    }
    return result;
  }

  /// 12, -1, 0f3F800000, 0d3FF0000000000000, or the address of a variable.
  std::uint64_t constant(std::string_view word) {
    std::uint64_t value = 0;
    const bool real = word.starts_with("0f") || word.starts_with("0d");
    const bool negative = word.front() == '-';
    const bool hexadecimal = real || word.starts_with("0x");
    const std::string_view digits = word.substr(hexadecimal ? 2 : negative ? 1 : 0);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, hexadecimal ? 16 : 10);
    if (error == std::errc() && end == digits.data() + digits.size())
      return negative ? -value : value;
    return address_of(word);
  }

  Cursor cursor_;
  const std::string& path_;
  const std::vector<std::string>& files_;
  const std::vector<SharedArray>& module_shared_;
  Function function_;
  std::vector<Scope> scopes_{1};
  std::string local_name_;
  const char* file_ = nullptr;
  unsigned line_ = 0;
};

}  // namespace

Function Module::parse(const Entry& entry) const {
  const std::string_view text = text_;
  const auto line = std::count(text.begin(), text.begin() + entry.offset, '\n') + 1;
  return Parser(text.substr(entry.offset), path_, static_cast<unsigned>(line), files_, shared_)
      .parse();
}

}  // namespace cuda_sim::ptx
