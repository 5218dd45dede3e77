# What keeps builds short: a compiler cache, a fast linker, one precompiled header.
option(STRANDWAVE_PCH "Share one precompiled header of LibTorch between all targets" ON)

find_program(STRANDWAVE_CCACHE ccache)
if(STRANDWAVE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # With a precompiled header ccache needs to be told that its macros may be trusted.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${STRANDWAVE_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${STRANDWAVE_CCACHE})
endif()

find_program(STRANDWAVE_LLD NAMES ld.lld-19 ld.lld)
find_program(STRANDWAVE_MOLD mold)
if(STRANDWAVE_MOLD)
  add_link_options(-fuse-ld=mold)
elseif(STRANDWAVE_LLD AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_link_options(-fuse-ld=lld)
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  if(CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 18)
    # LibTorch is built by g++; clang 18 changed the mangling of constrained templates.
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fclang-abi-compat=17>)
  endif()
  if(STRANDWAVE_PCH)
    set(CMAKE_PCH_INSTANTIATE_TEMPLATES ON)
    add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang -fno-pch-timestamp>")
  endif()
endif()
