# Compiles device code with nvcc, for every architecture that headgate supports. A register that spills
# is an error. What ptxas says of each kernel is kept beside the object, in NAME.log.
set(cuda_architectures 80 90 100)
set(cuda_language_flags
    -std=c++20 -O3 --expt-relaxed-constexpr
    -DFMT_USE_CONSTEXPR=1 -diag-suppress=554)  # fmt takes nvcc for a compiler without constexpr; hg::Tensor converts to itself
set(cuda_flags ${cuda_language_flags} -Xcompiler=-fPIC
    -Xptxas=-v,-warn-spills,-warn-lmem-usage,-Werror)
foreach(architecture ${cuda_architectures})
  list(APPEND cuda_flags -gencode=arch=compute_${architecture},code=sm_${architecture})
endforeach()
list(APPEND cuda_flags -gencode=arch=compute_100,code=compute_100)  # for GPUs still to come

# Sets ${result} to the objects of the sources, and ${result}_logs to what ptxas says of them.
function(compile_cuda_kernels result)
  foreach(source ${ARGN})
    cmake_path(GET source STEM name)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.o)
    set(log ${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.log)
    add_custom_command(
      OUTPUT ${object} BYPRODUCTS ${log}
      COMMAND sh -c "\"$@\" > ${log} 2>&1 || { cat ${log}; exit 1; }" compile
              ${CMAKE_CXX_COMPILER_LAUNCHER} ${CUDA_NVCC} ${cuda_flags} -I${PROJECT_SOURCE_DIR}/src
              -MD -MF ${object}.d -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d VERBATIM
      COMMENT "Compiling ${name}.cu for GPUs")
    list(APPEND objects ${object})
    list(APPEND logs ${log})
  endforeach()
  set(${result} ${objects} PARENT_SCOPE)
  set(${result}_logs ${logs} PARENT_SCOPE)
endfunction()

# Sets ${result} to the PTX of the sources for an architecture, with the lines that it is of: ptx/sm_90/NAME.ptx.
function(compile_to_ptx result architecture)
  foreach(source ${ARGN})
    cmake_path(GET source STEM name)
    set(ptx ${CMAKE_CURRENT_BINARY_DIR}/ptx/sm_${architecture}/${name}.ptx)
    add_custom_command(
      OUTPUT ${ptx}
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${CUDA_NVCC} ${cuda_language_flags}
              -arch=compute_${architecture} -lineinfo -I${PROJECT_SOURCE_DIR}/src
              -I${PROJECT_SOURCE_DIR}/tests -MD -MF ${ptx}.d -c -ptx ${source} -o ${ptx}  # -c is for ccache
      DEPENDS ${source} DEPFILE ${ptx}.d VERBATIM
      COMMENT "Compiling ${name}.cu to PTX for sm_${architecture}")
    list(APPEND files ${ptx})
  endforeach()
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/ptx/sm_${architecture})
  set(${result} ${files} PARENT_SCOPE)
endfunction()
