// The part of the CUDA driver that cuDNN calls while it makes plans, without a GPU: it takes
// kernels, and does not run them. ./stubs makes the rest, which says that it is not supported.
#include <cuda.h>

#include <cstring>
#include <set>
#include <string>

namespace {

/// Names of kernels stand for kernels; cuDNN passes them on.
const std::string* kept(const char* name) {
  static std::set<std::string> names;
  return &*names.insert(name).first;
}

template <class Handle>
Handle handle_of(const std::string* name) {
  return reinterpret_cast<Handle>(const_cast<std::string*>(name));
}

}  // namespace

extern "C" {

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }

CUresult cuDriverGetVersion(int* version) {
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult, const char** name) {
  *name = "error of the stand-in";
  return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult, const char** words) {
  *words = "error of the stand-in for the CUDA driver";
  return CUDA_SUCCESS;
}

CUresult cuGetExportTable(const void**, const CUuuid*) { return CUDA_ERROR_INVALID_VALUE; }

CUresult cuLibraryLoadData(CUlibrary* library, const void*, CUjit_option*, void**, unsigned,
                           CUlibraryOption*, void**, unsigned) {
  *library = handle_of<CUlibrary>(kept("library"));
  return CUDA_SUCCESS;
}

CUresult cuLibraryUnload(CUlibrary) { return CUDA_SUCCESS; }

CUresult cuLibraryGetKernel(CUkernel* kernel, CUlibrary, const char* name) {
  *kernel = handle_of<CUkernel>(kept(name));
  return CUDA_SUCCESS;
}

CUresult cuKernelGetFunction(CUfunction* function, CUkernel kernel) {
  std::memcpy(function, &kernel, sizeof kernel);
  return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int* value, CUfunction_attribute, CUfunction) {
  *value = 0;
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return CUDA_SUCCESS; }

}  // extern "C"
