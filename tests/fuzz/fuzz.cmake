# Readers of files under AddressSanitizer and UndefinedBehaviorSanitizer, in every build: a program of its own, with
# nothing but them.
file(GLOB reader_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/core/*.cpp
     ${PROJECT_SOURCE_DIR}/src/data/*.cpp)
foreach(source dist/sharding model/config model/gate_config model/moe_config train/config train/safetensors
        train/checkpoint/pieces train/checkpoint/manifest)
  if(EXISTS ${PROJECT_SOURCE_DIR}/src/${source}.cpp)
    list(APPEND reader_sources ${PROJECT_SOURCE_DIR}/src/${source}.cpp)
  endif()
endforeach()
file(GLOB fuzz_sources CONFIGURE_DEPENDS fuzz/*.cpp)
add_executable(headgate_fuzz ${fuzz_sources} ${reader_sources})
target_include_directories(headgate_fuzz PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src
                           ${PROJECT_BINARY_DIR}/generated)
target_compile_definitions(headgate_fuzz PRIVATE "HEADGATE_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"")
target_link_libraries(headgate_fuzz PRIVATE Threads::Threads fmt::fmt spdlog::spdlog
                      nlohmann_json::nlohmann_json yaml-cpp OpenMP::OpenMP_CXX PkgConfig::pcre2 PkgConfig::utf8proc
                      PkgConfig::xxhash GTest::gtest_main)
if(NOT HEADGATE_SANITIZE)
  set(sanitize -g1 -O1 -fsanitize=address,undefined -fno-sanitize-recover=all)
  target_compile_options(headgate_fuzz PRIVATE ${sanitize})
  target_link_options(headgate_fuzz PRIVATE ${sanitize})
endif()
gtest_discover_tests(headgate_fuzz TEST_PREFIX "asan/" DISCOVERY_TIMEOUT 60 PROPERTIES LABELS fast)
