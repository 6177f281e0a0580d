// From what instruments recorded of layers to the rows that sinks take: shared by the files that do
// so for gates, attention and activations.
#pragma once

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/instruments.h"
#include "train/metrics/tensorboard.h"

namespace hg {

/// Element `i` of an f32 tensor; or one of a matrix.
inline double at(const Tensor& values, std::int64_t i) { return double{values.as<float>()[i]}; }
inline double at(const Tensor& matrix, std::int64_t row, std::int64_t column) {
  return at(matrix, row * matrix.dim(1) + column);
}

/// Mean and maximum; the maximum is NaN if a value is.
struct Running {
  double sum = 0, max = -std::numeric_limits<double>::infinity();
  std::int64_t count = 0;

  void add(double value) {
    sum += value;
    if (!std::isnan(max) && !(value <= max)) max = value;
    ++count;
  }
  double mean() const { return sum / static_cast<double>(count); }
};

/// One value per layer, and the aggregate of them all.
class LayerRows {
 public:
  explicit LayerRows(const Instruments& instruments) : instruments_(instruments) {}

  /// Adds `name`, the mean (or, if asked, the maximum) over layers of value(layer); each layer's
  /// own behind it if `each`.
  template <class Value>
  void add(const std::string& name, bool maximum, bool each, Value&& value) {
    Running all;
    for (const Instruments::Layer& layer : instruments_.layers()) all.add(value(layer));
    values.push_back({name, maximum ? all.max : all.mean()});
    if (!each) return;
    int i = 0;
    for (const Instruments::Layer& layer : instruments_.layers())
      values.push_back({fmt::format("{}/layers.{}", name, i++), value(layer)});
  }

  std::vector<NamedValue> values;

 private:
  const Instruments& instruments_;
};

/// The first `rows` elements of a column, as an array.
inline nlohmann::ordered_json column_of(const Tensor& heads, std::int64_t column,
                                        std::int64_t rows) {
  nlohmann::ordered_json result = nlohmann::ordered_json::array();
  for (std::int64_t head = 0; head < rows; ++head) result.push_back(at(heads, head, column));
  return result;
}

}  // namespace hg
