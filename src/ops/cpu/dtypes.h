// From a run-time element type to a compile-time one.
#pragma once

#include "core/dtype.h"

namespace hg {

/// Calls fn.operator()<T>() with T = float or bf16.
template <class Fn>
void for_float_type(DType dtype, Fn&& fn) {
  if (dtype == DType::f32) {
    fn.template operator()<float>();
  } else {
    fn.template operator()<bf16>();
  }
}

}  // namespace hg
