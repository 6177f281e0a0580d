# Tests of CUDA kernels: the .cu files, compiled by the C++ compiler against the simulation, and what
# calls CUDA's libraries.
file(GLOB cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/ops/cuda/*.cu)
file(GLOB planted_sources CONFIGURE_DEPENDS cuda_sim/kernels/*.cu)
set_source_files_properties(${cuda_sources} ${planted_sources} PROPERTIES LANGUAGE CXX)

function(add_cuda_kernels name)
  add_library(${name} OBJECT ${ARGN})
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src
                             ${PROJECT_BINARY_DIR}/generated)
  target_include_directories(${name} SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS} ${NCCL_INCLUDE_DIR})
  target_compile_options(${name} PRIVATE -O1 -Wno-unknown-pragmas)  # nvcc's #pragma unroll
  target_link_libraries(${name} PRIVATE fmt::fmt GTest::gmock)
endfunction()
# What libheadgate_cuda.so is made of, in the test program itself.
add_cuda_kernels(cuda_kernels ${cuda_sources} ${planted_sources} ${gpu_module})
add_cuda_kernels(cuda_kernel_tests ${kernel_tests})
target_sources(headgate_tests PRIVATE $<TARGET_OBJECTS:cuda_kernels>
               $<TARGET_OBJECTS:cuda_kernel_tests>)
file(GLOB gpu_tests CONFIGURE_DEPENDS cuda/*_test.cpp)  # of whole runs
target_sources(headgate_tests PRIVATE ${gpu_tests})

# The same tests under the race check: kernels call ThreadSanitizer's hooks, and find our own.
if(NOT HEADGATE_SANITIZE)
  add_cuda_kernels(cuda_kernels_racecheck ${cuda_sources} ${gpu_module} ${planted_sources})
  target_compile_options(cuda_kernels_racecheck PRIVATE -g -fsanitize=thread -Wno-tsan)
  file(GLOB racecheck_sources CONFIGURE_DEPENDS cuda_sim/racecheck/*.cpp)
  add_cuda_kernels(cuda_racecheck_objects ${racecheck_sources})
  add_executable(cuda_racecheck support/tensors.cpp support/compare.cpp)
  target_include_directories(cuda_racecheck PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  foreach(objects cuda_sim cuda_kernel_tests cuda_kernels_racecheck cuda_racecheck_objects)
    target_sources(cuda_racecheck PRIVATE $<TARGET_OBJECTS:${objects}>)
  endforeach()
  target_link_libraries(cuda_racecheck PRIVATE headgate GTest::gmock)
  gtest_discover_tests(cuda_racecheck TEST_PREFIX "racecheck/" TEST_LIST racecheck_tests
                       DISCOVERY_TIMEOUT 60 PROPERTIES LABELS fast)
endif()

# What nvcc made of the kernels: how much of the machine each takes is compared with resources.txt.
# And its planted bug: a kernel whose registers spill is not compiled.
find_program(PYTHON3 python3)
if(TARGET headgate_cuda AND PYTHON3)
  get_target_property(kernel_logs headgate_cuda KERNEL_LOGS)
  add_test(NAME cuda_resources COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cuda_sim/resources
                                       --nvcc ${CUDA_NVCC} ${kernel_logs})
  set_tests_properties(cuda_resources PROPERTIES LABELS fast)
endif()
