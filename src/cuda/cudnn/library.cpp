#include "cuda/cudnn/library.h"

#include <dlfcn.h>

#include <array>
#include <string_view>

namespace hg {

CudnnLibrary::CudnnLibrary() : handle_(dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL)) {
  HG_CHECK(handle_ != nullptr, "cuDNN cannot be loaded: {}", dlerror());
  find(version, "cudnnGetVersion");
  find(error_string, "cudnnGetErrorString");
  find(last_error, "cudnnGetLastErrorString");
  find(create, "cudnnCreate");
  find(destroy, "cudnnDestroy");
  find(set_stream, "cudnnSetStream");
  find(create_descriptor, "cudnnBackendCreateDescriptor");
  find(destroy_descriptor, "cudnnBackendDestroyDescriptor");
  find(set_attribute, "cudnnBackendSetAttribute");
  find(get_attribute, "cudnnBackendGetAttribute");
  find(finalize, "cudnnBackendFinalize");
  find(execute, "cudnnBackendExecute");
}

CudnnLibrary::~CudnnLibrary() { dlclose(handle_); }

template <class Function>
void CudnnLibrary::find(Function& function, const char* name) {
  function = reinterpret_cast<Function>(dlsym(handle_, name));
  HG_CHECK(function != nullptr, "cuDNN has no {}: {}", name, dlerror());
}

void CudnnLibrary::check(cudnnStatus_t status, const char* what) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::array<char, 1024> buffer{};
  last_error(buffer.data(), buffer.size());
  // Of what may be many lines, the first reason.
  const std::string_view all(buffer.data()), mark = "Reason: ";
  const std::size_t at = all.find(mark);
  const std::string_view rest = at == all.npos ? all : all.substr(at + mark.size());
  fail("cuDNN: {}: {}: {}", what, error_string(status), rest.substr(0, rest.find('\n')));
}

}  // namespace hg
