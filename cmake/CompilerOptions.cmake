# Warnings as errors, sanitizers and ccache, for every target of the project.
add_compile_options(-Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Wold-style-cast
                    -Wmissing-field-initializers)
# Kernels rely on a*b+c becoming one instruction; -std=c++20 alone forbids it across operations.
add_compile_options(-ffp-contract=fast)
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
endif()

if(HEADGATE_SANITIZE)
  add_compile_options(-fsanitize=${HEADGATE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${HEADGATE_SANITIZE})
  if(HEADGATE_SANITIZE MATCHES "thread")
    add_compile_definitions(HEADGATE_STD_THREADS)  # libgomp's barriers are unknown to the sanitizer
  endif()
endif()

# Clones share what they compiled, wherever they lie: inside the project ccache takes paths as relative.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE_PROGRAM})
endif()
