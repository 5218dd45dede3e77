# Dependencies point one way: apps -> genomics, audio -> core -> kernels.
#
#   strandwave_add_library(core_models LAYER core
#     SOURCES model.cpp ...        files of this folder
#     DEPENDS core_layers ...      other libraries of this project, or imported targets
#     [NO_TORCH])                  no LibTorch include path: builds fast
#
# A link upwards or sideways is refused here; tests/python/layering_test.py refuses the same for #include lines.

set_property(GLOBAL PROPERTY STRANDWAVE_LAYER_RANK_kernels 0)
set_property(GLOBAL PROPERTY STRANDWAVE_LAYER_RANK_core 1)
set_property(GLOBAL PROPERTY STRANDWAVE_LAYER_RANK_genomics 2)
set_property(GLOBAL PROPERTY STRANDWAVE_LAYER_RANK_audio 2)
set_property(GLOBAL PROPERTY STRANDWAVE_LAYER_RANK_apps 3)
set_property(GLOBAL PROPERTY STRANDWAVE_LAYER_RANK_tests 4)

# The one precompiled header.
if(STRANDWAVE_PCH)
  file(WRITE ${CMAKE_BINARY_DIR}/torch_pch_anchor.cpp "// Compiled once, so that its precompiled header can be shared.\n")
  add_library(strandwave_pch OBJECT ${CMAKE_BINARY_DIR}/torch_pch_anchor.cpp)
  target_link_libraries(strandwave_pch PRIVATE strandwave_warnings strandwave::torch)
  target_precompile_headers(strandwave_pch PRIVATE ${CMAKE_SOURCE_DIR}/cmake/torch_pch.h)
endif()

function(strandwave_check_layer name layer)
  get_property(rank GLOBAL PROPERTY STRANDWAVE_LAYER_RANK_${layer})
  foreach(dependency ${ARGN})
    if(TARGET ${dependency})
      get_target_property(other ${dependency} STRANDWAVE_LAYER)
      if(other)
        get_property(other_rank GLOBAL PROPERTY STRANDWAVE_LAYER_RANK_${other})
        if(other_rank GREATER rank OR (other_rank EQUAL rank AND NOT other STREQUAL layer))
          message(FATAL_ERROR "${name} (layer ${layer}) must not depend on ${dependency} (layer ${other}).")
        endif()
      endif()
    endif()
  endforeach()
endfunction()

function(strandwave_add_library name)
  cmake_parse_arguments(arg "NO_TORCH;SHARED;OBJECT" "LAYER" "SOURCES;DEPENDS" ${ARGN})
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_LAYER)
    message(FATAL_ERROR "strandwave_add_library(${name}): give LAYER, SOURCES, DEPENDS; unknown: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  set(kind STATIC)
  if(arg_SHARED)
    set(kind SHARED)
  elseif(arg_OBJECT)
    set(kind OBJECT)
  endif()
  add_library(${name} ${kind} ${arg_SOURCES})
  set_target_properties(${name} PROPERTIES STRANDWAVE_LAYER ${arg_LAYER})
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>)
  target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:strandwave_warnings> PUBLIC ${arg_DEPENDS})
  strandwave_check_layer(${name} ${arg_LAYER} ${arg_DEPENDS})
  if(NOT arg_NO_TORCH)
    target_link_libraries(${name} PUBLIC strandwave::torch)
    if(STRANDWAVE_PCH)
      target_precompile_headers(${name} REUSE_FROM strandwave_pch)
    endif()
  endif()
endfunction()
