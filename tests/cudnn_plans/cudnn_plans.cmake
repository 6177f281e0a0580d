# A program that makes plans with the real cuDNN, for GPUs that are not here, over a stand-in for the
# CUDA driver.
find_program(PYTHON3 python3)
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/cuda_stand_in)
set(stubs ${CMAKE_CURRENT_BINARY_DIR}/cuda_stand_in/stubs.cpp)
add_custom_command(
  OUTPUT ${stubs}
  COMMAND ${PYTHON3} ${CMAKE_CURRENT_SOURCE_DIR}/cudnn_plans/stubs ${CUDAToolkit_INCLUDE_DIRS}/cuda.h
          ${CMAKE_CURRENT_SOURCE_DIR}/cudnn_plans/stand_in.cpp ${stubs}
  DEPENDS cudnn_plans/stubs cudnn_plans/stand_in.cpp VERBATIM)
add_library(cuda_stand_in SHARED cudnn_plans/stand_in.cpp ${stubs})
target_include_directories(cuda_stand_in SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
set_target_properties(cuda_stand_in PROPERTIES OUTPUT_NAME cuda SOVERSION 1 VERSION 1
                      LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/cuda_stand_in)

add_executable(cudnn_plans cudnn_plans/cudnn_plans.cpp ${PROJECT_SOURCE_DIR}/src/cuda/sdpa_graph.cpp
               ${PROJECT_SOURCE_DIR}/src/ops/cuda/sdpa.cpp $<TARGET_OBJECTS:headgate_cudnn>)
target_include_directories(cudnn_plans PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(cudnn_plans PRIVATE headgate CUDA::cudart yaml-cpp)
add_dependencies(cudnn_plans cuda_stand_in)
cmake_path(GET CUDNN_LIBRARY PARENT_PATH cudnn_folder)
foreach(gpu a100 h100 b200)
  add_test(NAME cudnn_plans_${gpu}
           COMMAND cudnn_plans ${gpu} ${PROJECT_SOURCE_DIR}/configs)
  set_tests_properties(cudnn_plans_${gpu} PROPERTIES LABELS full TIMEOUT 600 ENVIRONMENT
      "LD_LIBRARY_PATH=${CMAKE_CURRENT_BINARY_DIR}/cuda_stand_in:${cudnn_folder}")
endforeach()
