#include "dist/sharding.h"

namespace hg {

Shape whole_shape(const Mesh& mesh, Split split, const Shape& shape) {
  const int axis = split == Split::columns ? 1 : 0;
  return shape.with(axis, shape[axis] * split_group(mesh, split).size);
}

}  // namespace hg
