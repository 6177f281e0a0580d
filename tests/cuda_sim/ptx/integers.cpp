// Operations of integers, bits and predicates, and moves between registers.
#include <algorithm>
#include <limits>

#include "cuda_sim/ptx/forms.h"

namespace cuda_sim::ptx {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;
template <class T>
inline constexpr std::uint32_t kBits = 8 * sizeof(T);

/// What overflows wraps.
template <class T, class F>
constexpr T wrapped(F&& f, std::same_as<T> auto... values) {
  return static_cast<T>(f(static_cast<std::uint64_t>(values)...));
}

template <class T>
struct WiderOf;
template <>
struct WiderOf<std::int16_t> : std::type_identity<std::int32_t> {};
template <>
struct WiderOf<std::uint16_t> : std::type_identity<std::uint32_t> {};
template <>
struct WiderOf<std::int32_t> : std::type_identity<std::int64_t> {};
template <>
struct WiderOf<std::uint32_t> : std::type_identity<std::uint64_t> {};
template <class T>
using Wider = typename WiderOf<T>::type;

/// The quotient, or the remainder; what PTX leaves open is an error.
template <class T, bool remainder>
const Op* divide(const Op* op, Lane& lane) {
  const T a = get<T>(lane, op->slot[1]), b = get<T>(lane, op->slot[2]);
  if (b == 0) fail_at(op, lane, "an integer is divided by zero");
  if constexpr (std::is_signed_v<T>) {
    if (a == std::numeric_limits<T>::min() && b == -1)
      fail_at(op, lane, "the quotient of integers overflows");
  }
  set<T>(lane, op->slot[0], static_cast<T>(remainder ? a % b : a / b));
  return op + 1;
}

template <class T>
void add_comparisons(Forms& forms, const std::string& type) {
  forms.add("setp.eq" + type, pure([](T a, T b) { return a == b; }));
  forms.add("setp.ne" + type, pure([](T a, T b) { return a != b; }));
}

template <class T>
void add_arithmetic_of(Forms& forms) {
  const std::string type = "." + type_name<T>();
  forms.add("add" + type, pure([](T a, T b) { return wrapped<T>(std::plus(), a, b); }));
  forms.add("sub" + type, pure([](T a, T b) { return wrapped<T>(std::minus(), a, b); }));
  forms.add("mul.lo" + type, pure([](T a, T b) { return wrapped<T>(std::multiplies(), a, b); }));
  forms.add("mad.lo" + type, pure([](T a, T b, T c) {
              return wrapped<T>([](auto x, auto y, auto z) { return x * y + z; }, a, b, c);
            }));
  forms.add("min" + type, pure([](T a, T b) { return std::min(a, b); }));
  forms.add("max" + type, pure([](T a, T b) { return std::max(a, b); }));
  forms.add("div" + type, {.run = divide<T, false>, .writes = 1, .slots = 3});
  forms.add("rem" + type, {.run = divide<T, true>, .writes = 1, .slots = 3});
  forms.add("shr" + type, pure([](T a, std::uint32_t n) {
              const T sign = a < 0 ? static_cast<T>(-1) : T{};
              return n >= kBits<T> ? sign : static_cast<T>(a >> n);
            }));
  if constexpr (std::is_signed_v<T>) {
    forms.add("neg" + type, pure([](T a) { return wrapped<T>(std::negate(), a); }));
    forms.add("abs" + type, pure([](T a) { return a < 0 ? wrapped<T>(std::negate(), a) : a; }));
  }
  if constexpr (sizeof(T) < 8) {
    using W = Wider<T>;
    forms.add("mul.wide" + type, pure([](T a, T b) { return static_cast<W>(W{a} * W{b}); }));
    forms.add("mul.hi" + type,
              pure([](T a, T b) { return static_cast<T>((W{a} * W{b}) >> kBits<T>); }));
  }
  add_comparisons<T>(forms, type);
  forms.add("setp.lt" + type, pure([](T a, T b) { return a < b; }));
  forms.add("setp.le" + type, pure([](T a, T b) { return a <= b; }));
  forms.add("setp.gt" + type, pure([](T a, T b) { return a > b; }));
  forms.add("setp.ge" + type, pure([](T a, T b) { return a >= b; }));
}

/// Of untyped bits; `type` is ".b32" or ".pred".
template <class T>
void add_logic(Forms& forms, const std::string& type) {
  forms.add("and" + type, pure([](T a, T b) { return static_cast<T>(a & b); }));
  forms.add("or" + type, pure([](T a, T b) { return static_cast<T>(a | b); }));
  forms.add("xor" + type, pure([](T a, T b) { return static_cast<T>(a ^ b); }));
}

template <class T>
void add_bits(Forms& forms) {
  const std::string type = "." + type_name<T>('b');
  add_logic<T>(forms, type);
  add_comparisons<T>(forms, type);
  forms.add("not" + type, pure([](T a) { return static_cast<T>(~a); }));
  forms.add("shl" + type, pure([](T a, std::uint32_t n) {
              return n >= kBits<T> ? T{} : static_cast<T>(a << n);
            }));
  forms.add("shr" + type, pure([](T a, std::uint32_t n) {
              return n >= kBits<T> ? T{} : static_cast<T>(a >> n);
            }));
  for (const char* kind : {".b", ".u", ".s", ".f"}) {
    if (sizeof(T) == 2 && *(kind + 1) == 'f') continue;
    const std::string same_size = kind + std::to_string(kBits<T>);
    forms.add("mov" + same_size, pure([](T a) { return a; }));
    forms.add("selp" + same_size, pure([](T a, T b, Predicate p) { return p != 0 ? a : b; }));
  }
}

/// `a` takes the place of bits [first, first + n) of `b`.
template <class T>
T insert_bits(T a, T b, std::uint32_t first, std::uint32_t n) {
  first &= 0xff;
  n &= 0xff;
  if (first >= kBits<T>) return b;
  const T mask = (n >= kBits<T> ? ~T{} : (T{1} << n) - 1) << first;
  return (a << first & mask) | (b & ~mask);
}

/// `n` bits of `a` from bit `first` on.
std::uint32_t extract_bits(std::uint32_t a, std::uint32_t first, std::uint32_t n) {
  first &= 0xff;
  n &= 0xff;
  const std::uint64_t rest = first >= 32 ? 0 : a >> first;
  return static_cast<std::uint32_t>(n >= 32 ? rest : rest & ((std::uint64_t{1} << n) - 1));
}

template <class T>
Form insertion() {
  return pure(
      [](T a, T b, std::uint32_t first, std::uint32_t n) { return insert_bits(a, b, first, n); });
}

/// One register of several, the first of them lowest.
template <class Whole, class Part>
Form pack() {
  constexpr std::uint32_t n = sizeof(Whole) / sizeof(Part);
  const Handler run = [](const Op* op, Lane& lane) {
    std::array<Part, n> parts;
    for (std::uint32_t i = 0; i < n; ++i) parts[i] = get<Part>(lane, op->slot[1 + i]);
    set<Whole>(lane, op->slot[0], std::bit_cast<Whole>(parts));
    return op + 1;
  };
  return {.run = run, .writes = 1, .slots = 1 + n};
}
template <class Whole, class Part>
Form unpack() {
  constexpr std::uint32_t n = sizeof(Whole) / sizeof(Part);
  const Handler run = [](const Op* op, Lane& lane) {
    const auto parts = std::bit_cast<std::array<Part, n>>(get<Whole>(lane, op->slot[n]));
    for (std::uint32_t i = 0; i < n; ++i) set<Part>(lane, op->slot[i], parts[i]);
    return op + 1;
  };
  return {.run = run, .writes = n, .slots = n + 1};
}

}  // namespace

void add_integers(Forms& forms) {
  add_arithmetic_of<std::int16_t>(forms);
  add_arithmetic_of<std::uint16_t>(forms);
  add_arithmetic_of<std::int32_t>(forms);
  add_arithmetic_of<std::uint32_t>(forms);
  add_arithmetic_of<std::int64_t>(forms);
  add_arithmetic_of<std::uint64_t>(forms);
  add_bits<std::uint16_t>(forms);
  add_bits<std::uint32_t>(forms);
  add_bits<std::uint64_t>(forms);
  add_logic<Predicate>(forms, ".pred");
  forms.add("not.pred", pure([](Predicate a) { return a == 0; }));
  forms.add("mov.pred", pure([](Predicate a) { return a != 0; }));
  forms.add("bfe.u32", pure([](std::uint32_t a, std::uint32_t first, std::uint32_t n) {
              return extract_bits(a, first, n);
            }));
  forms.add("bfi.b32", insertion<std::uint32_t>());
  forms.add("bfi.b64", insertion<std::uint64_t>());
  forms.add("mov.b32 = {2}", pack<std::uint32_t, std::uint16_t>());
  forms.add("mov.b64 = {2}", pack<std::uint64_t, std::uint32_t>());
  forms.add("mov.b64 = {4}", pack<std::uint64_t, std::uint16_t>());
  forms.add("mov.b32 {2} =", unpack<std::uint32_t, std::uint16_t>());
  forms.add("mov.b64 {2} =", unpack<std::uint64_t, std::uint32_t>());
  forms.add("mov.b64 {4} =", unpack<std::uint64_t, std::uint16_t>());
}

}  // namespace cuda_sim::ptx
