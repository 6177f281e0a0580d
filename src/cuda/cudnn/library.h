// libcudnn, loaded at run time, and its descriptors.
#pragma once

#include <cudnn.h>

#include <algorithm>
#include <concepts>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/check.h"

namespace hg {

/// The functions of cuDNN that headgate calls. Throws hg::Error with the loader's words if there is
/// no libcudnn.
class CudnnLibrary {
 public:
  CudnnLibrary();
  ~CudnnLibrary();
  CudnnLibrary(const CudnnLibrary&) = delete;
  CudnnLibrary& operator=(const CudnnLibrary&) = delete;

  decltype(&cudnnGetVersion) version;
  decltype(&cudnnGetErrorString) error_string;
  decltype(&cudnnGetLastErrorString) last_error;
  decltype(&cudnnCreate) create;
  decltype(&cudnnDestroy) destroy;
  decltype(&cudnnSetStream) set_stream;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor;
  decltype(&cudnnBackendSetAttribute) set_attribute;
  decltype(&cudnnBackendGetAttribute) get_attribute;
  decltype(&cudnnBackendFinalize) finalize;
  decltype(&cudnnBackendExecute) execute;

  /// Throws with cuDNN's words if `status` is an error of `what`.
  void check(cudnnStatus_t status, const char* what) const;

 private:
  template <class Function>
  void find(Function& function, const char* name);

  void* handle_ = nullptr;
};

/// One of cuDNN's descriptors, destroyed with this.
class CudnnDescriptor {
 public:
  CudnnDescriptor(const CudnnLibrary& library, cudnnBackendDescriptorType_t type)
      : library_(&library), handle_(nullptr, library.destroy_descriptor) {
    cudnnBackendDescriptor_t made = nullptr;
    library.check(library.create_descriptor(type, &made), "a descriptor");
    handle_.reset(made);
  }

  cudnnBackendDescriptor_t get() const { return handle_.get(); }

  template <class Value>
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                       std::span<const Value> values) {
    library_->check(library_->set_attribute(
                        get(), name, type, static_cast<std::int64_t>(values.size()), values.data()),
                    "an attribute");
    return *this;
  }
  template <class Value>
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                       const Value& value) {
    return set(name, type, std::span(&value, 1));
  }
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, std::int64_t value) {
    return set(name, CUDNN_TYPE_INT64, value);
  }
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, std::same_as<bool> auto value) {
    return set(name, CUDNN_TYPE_BOOLEAN, value);
  }
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
    return set(name, CUDNN_TYPE_DATA_TYPE, value);
  }
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value.get());
  }
  CudnnDescriptor& finish(const char* what) {
    library_->check(library_->finalize(get()), what);
    return *this;
  }

  template <class Value>
  Value read(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const {
    Value value{};
    read_into(name, type, 1, &value);
    return value;
  }
  std::string read_text(cudnnBackendAttributeName_t name) const {
    std::string text(static_cast<std::size_t>(read_into(name, CUDNN_TYPE_CHAR, 0, nullptr)), ' ');
    read_into(name, CUDNN_TYPE_CHAR, static_cast<std::int64_t>(text.size()), text.data());
    return text;
  }
  /// Descriptors of a type.
  std::vector<CudnnDescriptor> read_all(cudnnBackendAttributeName_t name,
                                        cudnnBackendDescriptorType_t type) const {
    const auto count = read_into(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr);
    std::vector<CudnnDescriptor> found;
    std::vector<cudnnBackendDescriptor_t> handles;
    for (std::int64_t i = 0; i < count; ++i)
      handles.push_back(found.emplace_back(*library_, type).get());
    const auto filled =
        read_into(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, static_cast<void*>(handles.data()));
    found.erase(found.begin() + std::min(filled, count), found.end());
    return found;
  }

 private:
  /// Fills `room` values at most; how many there are.
  std::int64_t read_into(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                         std::int64_t room, void* values) const {
    std::int64_t found = 0;
    library_->check(library_->get_attribute(get(), name, type, room, &found, values),
                    "reading an attribute");
    return found;
  }

  const CudnnLibrary* library_;
  std::unique_ptr<void, cudnnStatus_t (*)(cudnnBackendDescriptor_t)> handle_;
};

}  // namespace hg
