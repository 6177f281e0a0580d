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
target_sources(headgate_tests PRIVATE $<TARGET_OBJECTS:cuda_kernels>)
if(NOT HEADGATE_SANITIZE)  # their scratch is the host's, which forgets it before the device is done
  target_sources(headgate_tests PRIVATE $<TARGET_OBJECTS:cuda_kernel_tests>)
endif()
file(GLOB gpu_tests CONFIGURE_DEPENDS cuda/*_test.cpp)  # of whole runs
target_sources(headgate_tests PRIVATE ${gpu_tests})

# The program as users have it, beside a libheadgate_cuda.so that is made of the simulation.
set(simulated ${CMAKE_CURRENT_BINARY_DIR}/simulated)
set_target_properties(cuda_sim cuda_kernels PROPERTIES POSITION_INDEPENDENT_CODE ON)
add_library(simulated_gpu MODULE cuda_sim/module/simulated_gpu.cpp $<TARGET_OBJECTS:cuda_sim>
                                 $<TARGET_OBJECTS:cuda_kernels>)
target_include_directories(simulated_gpu PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(simulated_gpu PRIVATE fmt::fmt)
set_target_properties(simulated_gpu PROPERTIES PREFIX "" OUTPUT_NAME libheadgate_cuda
                                               LIBRARY_OUTPUT_DIRECTORY ${simulated}/lib)
add_custom_command(TARGET simulated_gpu POST_BUILD COMMAND ${CMAKE_COMMAND} -E make_directory ${simulated}/bin
                   COMMAND ${CMAKE_COMMAND} -E copy $<TARGET_FILE:headgate_cli> ${simulated}/bin/headgate)
add_dependencies(simulated_gpu headgate_cli)
add_dependencies(headgate_tests simulated_gpu)

# A program of its own that runs the kernel tests, from these objects.
function(add_kernel_test_program name)
  add_executable(${name} support/tensors.cpp support/compare.cpp)
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  foreach(objects cuda_kernel_tests ${ARGN})
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:${objects}>)
  endforeach()
  target_link_libraries(${name} PRIVATE headgate GTest::gmock GTest::gtest_main)
endfunction()

if(NOT HEADGATE_SANITIZE)
  # Under the race check: kernels call ThreadSanitizer's hooks, and find our own.
  add_cuda_kernels(cuda_kernels_racecheck ${cuda_sources} ${gpu_module} ${planted_sources})
  target_compile_options(cuda_kernels_racecheck PRIVATE -g -fsanitize=thread -Wno-tsan)
  file(GLOB racecheck_sources CONFIGURE_DEPENDS cuda_sim/racecheck/*.cpp)
  add_cuda_kernels(cuda_racecheck_objects ${racecheck_sources})
  add_kernel_test_program(cuda_racecheck cuda_sim cuda_kernels_racecheck cuda_racecheck_objects)
  gtest_discover_tests(cuda_racecheck TEST_PREFIX "racecheck/" TEST_LIST racecheck_tests
                       DISCOVERY_TIMEOUT 60 PROPERTIES LABELS fast)

  # With AddressSanitizer and UBSan in kernels and in the simulation; the rest is as it is.
  set(sanitize -g -fsanitize=address,undefined -fno-sanitize-recover=all)
  add_cuda_kernels(cuda_kernels_asan ${cuda_sources} ${gpu_module} ${planted_sources})
  add_cuda_kernels(cuda_sim_asan ${simulation} ${PROJECT_SOURCE_DIR}/src/dist/nccl/module.cpp)
  foreach(target cuda_kernels_asan cuda_sim_asan)
    target_compile_options(${target} PRIVATE ${sanitize})
  endforeach()
  add_kernel_test_program(cuda_asan cuda_sim_asan cuda_kernels_asan)
  target_link_options(cuda_asan PRIVATE ${sanitize})
  gtest_discover_tests(cuda_asan TEST_PREFIX "asan/" TEST_LIST asan_tests DISCOVERY_TIMEOUT 60
                       PROPERTIES LABELS fast ENVIRONMENT ASAN_OPTIONS=detect_leaks=0)
endif()

# The same tests on nvcc's PTX of the kernels, from both of its optimisers: up to sm_90, and from sm_100 on. What
# it makes for sm_80 differs from sm_90 in how bf16 is widened, and in nothing else.
if(CUDA_NVCC AND NOT HEADGATE_SANITIZE)
  include(CudaKernels)
  file(GLOB ptx_sources CONFIGURE_DEPENDS cuda_sim/ptx/*.cpp)
  add_cuda_kernels(cuda_ptx_objects ${ptx_sources})
  target_compile_options(cuda_ptx_objects PRIVATE -O2 -mfma)  # fma.rn is most of the kernels
  target_compile_definitions(cuda_ptx_objects PRIVATE
                             HEADGATE_PTX_FOLDER="${CMAKE_CURRENT_BINARY_DIR}/ptx")
  add_kernel_test_program(cuda_ptx cuda_sim cuda_kernels cuda_ptx_objects)
  foreach(architecture 90 100)
    compile_to_ptx(ptx_files ${architecture} ${cuda_sources} ${planted_sources})
    target_sources(cuda_ptx PRIVATE ${ptx_files})
    gtest_discover_tests(cuda_ptx TEST_PREFIX "ptx/sm_${architecture}/" TEST_LIST ptx_${architecture}_tests
                         DISCOVERY_TIMEOUT 60
                         PROPERTIES LABELS fast ENVIRONMENT HEADGATE_PTX=sm_${architecture})
  endforeach()
endif()

# A kernel that spills is refused by the flags that the kernels are compiled with.
if(CUDA_NVCC AND NOT HEADGATE_SANITIZE)
  add_test(NAME CudaKernels.AKernelThatSpillsDoesNotCompile
           COMMAND ${CUDA_NVCC} ${cuda_flags} -I${PROJECT_SOURCE_DIR}/src -c -o /dev/null
                   ${CMAKE_CURRENT_SOURCE_DIR}/cuda_sim/spilling_kernel.cu)
  set_tests_properties(CudaKernels.AKernelThatSpillsDoesNotCompile PROPERTIES LABELS fast
                       PASS_REGULAR_EXPRESSION "error *: Registers are spilled to local memory")
endif()

# What nvcc made of the kernels: how much of the machine each takes is compared with resources.txt.
find_program(PYTHON3 python3)
if(TARGET headgate_cuda AND PYTHON3)
  get_target_property(kernel_logs headgate_cuda KERNEL_LOGS)
  add_test(NAME cuda_resources COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cuda_sim/resources
                                       --nvcc ${CUDA_NVCC} ${kernel_logs})
  set_tests_properties(cuda_resources PROPERTIES LABELS fast)
endif()
