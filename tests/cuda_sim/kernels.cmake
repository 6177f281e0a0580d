# Tests of CUDA kernels: the .cu files, compiled by the C++ compiler against the simulation.
file(GLOB kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/ops/cuda/*.cu cuda_sim/kernels/*.cu)
set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX)

function(add_cuda_kernels name)
  add_library(${name} OBJECT ${ARGN})
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  target_include_directories(${name} SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_compile_options(${name} PRIVATE -O1)
  target_link_libraries(${name} PRIVATE fmt::fmt GTest::gmock)
endfunction()
add_cuda_kernels(cuda_kernels ${kernels})
add_cuda_kernels(cuda_kernel_tests ${kernel_tests})
target_sources(headgate_tests PRIVATE $<TARGET_OBJECTS:cuda_kernels>
               $<TARGET_OBJECTS:cuda_kernel_tests>)
