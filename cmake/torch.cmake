# Imported targets for LibTorch. find_package(Torch) is not used: it demands a CUDA toolkit even for
# CPU work. Looked for, in this order: CMAKE_PREFIX_PATH, .venv (scripts/setup), STRANDWAVE_TORCH_HINT
# (set by the installed package: where it was built), python3's own torch.
#   strandwave::torch   c10, torch_cpu; with STRANDWAVE_CUDA also c10_cuda, torch_cuda and the CUDA runtime
#   strandwave::gomp    the OpenMP runtime they load
# STRANDWAVE_TORCH_LIBRARY_DIRS: where they and what they load themselves lie.
# The file is installed with the package, so it names nothing else of this project.
if(TARGET strandwave::torch)
  return()
endif()

set(candidates)
foreach(prefix ${CMAKE_PREFIX_PATH} $ENV{CMAKE_PREFIX_PATH})
  list(APPEND candidates ${prefix} ${prefix}/torch ${prefix}/../..)
endforeach()
file(GLOB venv_torch ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
list(APPEND candidates ${venv_torch} ${STRANDWAVE_TORCH_HINT})
find_path(STRANDWAVE_TORCH_DIR include/torch/csrc/api/include/torch/torch.h
          PATHS ${candidates} NO_DEFAULT_PATH DOC "Folder that holds LibTorch's include/ and lib/")
if(NOT STRANDWAVE_TORCH_DIR)
  find_program(STRANDWAVE_PYTHON python3)
  execute_process(COMMAND ${STRANDWAVE_PYTHON} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
                  OUTPUT_VARIABLE python_torch OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  find_path(STRANDWAVE_TORCH_DIR include/torch/csrc/api/include/torch/torch.h PATHS ${python_torch} NO_DEFAULT_PATH)
endif()
if(NOT STRANDWAVE_TORCH_DIR)
  message(FATAL_ERROR "LibTorch was not found. Give -DCMAKE_PREFIX_PATH=/path/to/libtorch, "
                      "or in a checkout of strandwave run scripts/setup.")
endif()
get_filename_component(STRANDWAVE_TORCH_DIR ${STRANDWAVE_TORCH_DIR} REALPATH)
set(torch_lib ${STRANDWAVE_TORCH_DIR}/lib)
set(STRANDWAVE_TORCH_VERSION)
foreach(part MAJOR MINOR PATCH)
  file(STRINGS ${STRANDWAVE_TORCH_DIR}/include/torch/headeronly/version.h line REGEX "define TORCH_VERSION_${part} ")
  string(REGEX MATCH "[0-9]+" number "${line}")
  list(APPEND STRANDWAVE_TORCH_VERSION ${number})
endforeach()
list(JOIN STRANDWAVE_TORCH_VERSION "." STRANDWAVE_TORCH_VERSION)
if(NOT STRANDWAVE_TORCH_VERSION VERSION_GREATER_EQUAL 2.11)
  message(FATAL_ERROR "LibTorch 2.11 is needed; ${STRANDWAVE_TORCH_DIR} holds '${STRANDWAVE_TORCH_VERSION}'.")
endif()

foreach(name c10 torch_cpu c10_cuda torch_cuda)
  add_library(strandwave::${name} SHARED IMPORTED)
  set_target_properties(strandwave::${name} PROPERTIES IMPORTED_LOCATION ${torch_lib}/lib${name}.so)
endforeach()

# The OpenMP runtime that LibTorch itself loads; kernels/common/parallel.cpp enters it directly.
file(GLOB torch_gomp ${torch_lib}/libgomp*.so* ${STRANDWAVE_TORCH_DIR}/../torch.libs/libgomp*.so*)
list(GET torch_gomp 0 torch_gomp)
add_library(strandwave::gomp SHARED IMPORTED)
set_target_properties(strandwave::gomp PROPERTIES IMPORTED_LOCATION ${torch_gomp})

add_library(strandwave::torch INTERFACE IMPORTED)
target_include_directories(strandwave::torch SYSTEM INTERFACE
  ${STRANDWAVE_TORCH_DIR}/include ${STRANDWAVE_TORCH_DIR}/include/torch/csrc/api/include)
target_link_libraries(strandwave::torch INTERFACE strandwave::torch_cpu strandwave::c10)

# LibTorch's own dependencies (CUDA runtime, cuDNN, NCCL, ...) lie in sibling folders of a PyPI tree.
get_filename_component(site_packages ${STRANDWAVE_TORCH_DIR} DIRECTORY)
file(GLOB torch_dependency_dirs ${site_packages}/nvidia/*/lib)
target_link_options(strandwave::torch INTERFACE -Wl,--allow-shlib-undefined)
set(STRANDWAVE_TORCH_LIBRARY_DIRS ${torch_lib} ${torch_dependency_dirs})

if(STRANDWAVE_CUDA)
  file(GLOB cudart ${site_packages}/nvidia/cu13/lib/libcudart.so.13 ${STRANDWAVE_NVCC_DIR}/../lib64/libcudart.so.13
                   ${STRANDWAVE_NVCC_DIR}/../lib/libcudart.so.13)
  list(GET cudart 0 cudart)
  add_library(strandwave::cudart SHARED IMPORTED)
  set_target_properties(strandwave::cudart PROPERTIES IMPORTED_LOCATION ${cudart})
  target_include_directories(strandwave::torch SYSTEM INTERFACE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  # Nothing names a symbol of torch_cuda; without --no-as-needed its back end would silently be absent.
  target_link_options(strandwave::torch INTERFACE -Wl,--no-as-needed)
  target_link_libraries(strandwave::torch INTERFACE strandwave::torch_cuda strandwave::c10_cuda strandwave::cudart)
endif()
message(STATUS "LibTorch ${STRANDWAVE_TORCH_VERSION}: ${STRANDWAVE_TORCH_DIR}")
