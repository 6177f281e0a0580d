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

# The same tests on nvcc's PTX of the kernels, from both of its optimisers: up to sm_90, and from sm_100 on. What
# it makes for sm_80 differs from sm_90 in how bf16 is widened, and in nothing else.
find_program(CUDA_NVCC nvcc HINTS ${CUDAToolkit_BIN_DIR} /usr/local/cuda/bin)
if(CUDA_NVCC AND NOT HEADGATE_SANITIZE)
  include(CudaKernels)
  file(GLOB ptx_sources CONFIGURE_DEPENDS cuda_sim/ptx/*.cpp)
  add_cuda_kernels(cuda_ptx_objects ${ptx_sources})
  target_compile_options(cuda_ptx_objects PRIVATE -O2 -mfma)  # fma.rn is most of the kernels
  target_compile_definitions(cuda_ptx_objects PRIVATE
                             HEADGATE_PTX_FOLDER="${CMAKE_CURRENT_BINARY_DIR}/ptx")
  add_executable(cuda_ptx support/tensors.cpp support/compare.cpp)
  target_include_directories(cuda_ptx PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  foreach(objects cuda_sim cuda_kernel_tests cuda_kernels cuda_ptx_objects)
    target_sources(cuda_ptx PRIVATE $<TARGET_OBJECTS:${objects}>)
  endforeach()
  target_link_libraries(cuda_ptx PRIVATE headgate GTest::gmock)
  foreach(architecture 90 100)
    compile_to_ptx(ptx_files ${architecture} ${cuda_sources} ${planted_sources})
    target_sources(cuda_ptx PRIVATE ${ptx_files})
    gtest_discover_tests(cuda_ptx TEST_PREFIX "ptx/sm_${architecture}/" TEST_LIST ptx_${architecture}_tests
                         DISCOVERY_TIMEOUT 60
                         PROPERTIES LABELS fast ENVIRONMENT HEADGATE_PTX=sm_${architecture})
  endforeach()
endif()

# What nvcc makes of the kernels: compiled for every architecture without a spilled register; how much
# of the machine each kernel takes is compared with resources.txt.
find_program(PYTHON3 python3)
if(CUDA_NVCC AND PYTHON3)
  add_test(NAME cuda_nvcc
           COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cuda_sim/resources --nvcc ${CUDA_NVCC}
                   --include ${PROJECT_SOURCE_DIR}/src ${cuda_sources})
  set_tests_properties(cuda_nvcc PROPERTIES LABELS full TIMEOUT 600)
endif()
