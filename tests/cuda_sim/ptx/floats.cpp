// Operations of f32 and f64. Each rounds once, as PTX says.
#include <cfenv>
#include <cmath>

#include "cuda_sim/ptx/forms.h"

namespace cuda_sim::ptx {
namespace {

/// f(...) rounded in a direction other than to nearest. The compiler must not compute it elsewhere.
template <int direction, class F>
float rounded(F&& f, std::same_as<float> auto... values) {
  std::fesetround(direction);
  const volatile float result = [&f](const volatile auto... its) { return f(its...); }(values...);
  std::fesetround(FE_TONEAREST);
  return result;
}

template <class T>
void add_comparisons(Forms& forms) {
  const std::string type = "." + type_name<T>();
  forms.add("setp.eq" + type, pure([](T a, T b) { return a == b; }));
  forms.add("setp.ne" + type, pure([](T a, T b) { return a < b || a > b; }));
  forms.add("setp.lt" + type, pure([](T a, T b) { return a < b; }));
  forms.add("setp.le" + type, pure([](T a, T b) { return a <= b; }));
  forms.add("setp.gt" + type, pure([](T a, T b) { return a > b; }));
  forms.add("setp.ge" + type, pure([](T a, T b) { return a >= b; }));
  // Those that hold of NaN.
  forms.add("setp.equ" + type, pure([](T a, T b) { return !(a < b || a > b); }));
  forms.add("setp.neu" + type, pure([](T a, T b) { return a != b; }));
  forms.add("setp.ltu" + type, pure([](T a, T b) { return !(a >= b); }));
  forms.add("setp.leu" + type, pure([](T a, T b) { return !(a > b); }));
  forms.add("setp.gtu" + type, pure([](T a, T b) { return !(a <= b); }));
  forms.add("setp.geu" + type, pure([](T a, T b) { return !(a < b); }));
  forms.add("setp.num" + type, pure([](T a, T b) { return !std::isunordered(a, b); }));
  forms.add("setp.nan" + type, pure([](T a, T b) { return std::isunordered(a, b); }));
}

template <class T>
void add_arithmetic(Forms& forms) {
  const std::string type = "." + type_name<T>();
  for (const std::string round : {"", ".rn"}) {
    forms.add("add" + round + type, pure([](T a, T b) { return a + b; }));
    forms.add("sub" + round + type, pure([](T a, T b) { return a - b; }));
    forms.add("mul" + round + type, pure([](T a, T b) { return a * b; }));
  }
  forms.add("fma.rn" + type, pure([](T a, T b, T c) { return std::fma(a, b, c); }));
  forms.add("div.rn" + type, pure([](T a, T b) { return a / b; }));
  forms.add("rcp.rn" + type, pure([](T a) { return 1 / a; }));
  forms.add("sqrt.rn" + type, pure([](T a) { return std::sqrt(a); }));
  forms.add("neg" + type, pure([](T a) { return -a; }));
  forms.add("abs" + type, pure([](T a) { return std::fabs(a); }));
  forms.add("min" + type,
            pure([](T a, T b) {  // the number, of a number and a NaN; -0 is less than 0
              return a == b ? (std::signbit(a) ? a : b) : std::fmin(a, b);
            }));
  forms.add("max" + type,
            pure([](T a, T b) { return a == b ? (std::signbit(a) ? b : a) : std::fmax(a, b); }));
}

}  // namespace

void add_floats(Forms& forms) {
  add_arithmetic<float>(forms);
  add_arithmetic<double>(forms);
  add_comparisons<float>(forms);
  add_comparisons<double>(forms);
  forms.add("fma.rm.f32", pure([](float a, float b, float c) {
              return rounded<FE_DOWNWARD>(
                  [](float x, float y, float z) { return std::fma(x, y, z); }, a, b, c);
            }));
  forms.add("add.rz.f32", pure([](float a, float b) {
              return rounded<FE_TOWARDZERO>([](float x, float y) { return x + y; }, a, b);
            }));
  forms.add("ex2.approx.ftz.f32", pure([](float x) {
              const float y = std::exp2(x);
              return y < 0x1p-126F ? 0 : y;
            }));
}

}  // namespace cuda_sim::ptx
