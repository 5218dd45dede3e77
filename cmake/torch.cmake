# Imported targets for LibTorch. find_package(Torch) is not used: it demands a CUDA toolkit even for
# CPU work. Looked for, in this order: CMAKE_PREFIX_PATH, .venv (scripts/setup), python3's own torch.
#   strandwave::torch   c10, torch_cpu, the OpenMP runtime they load; with STRANDWAVE_CUDA also
#                       c10_cuda, torch_cuda and the CUDA runtime

set(candidates)
foreach(prefix ${CMAKE_PREFIX_PATH} $ENV{CMAKE_PREFIX_PATH})
  list(APPEND candidates ${prefix} ${prefix}/torch ${prefix}/../..)
endforeach()
file(GLOB venv_torch ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
list(APPEND candidates ${venv_torch})
find_path(STRANDWAVE_TORCH_DIR include/torch/csrc/api/include/torch/torch.h
          PATHS ${candidates} NO_DEFAULT_PATH DOC "Folder that holds LibTorch's include/ and lib/")
if(NOT STRANDWAVE_TORCH_DIR)
  find_program(STRANDWAVE_PYTHON python3)
  execute_process(COMMAND ${STRANDWAVE_PYTHON} -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
                  OUTPUT_VARIABLE python_torch OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  find_path(STRANDWAVE_TORCH_DIR include/torch/csrc/api/include/torch/torch.h PATHS ${python_torch} NO_DEFAULT_PATH)
endif()
if(NOT STRANDWAVE_TORCH_DIR)
  message(FATAL_ERROR "LibTorch was not found. Run scripts/setup, or give -DCMAKE_PREFIX_PATH=/path/to/libtorch.")
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

add_library(strandwave_torch INTERFACE)
add_library(strandwave::torch ALIAS strandwave_torch)
target_include_directories(strandwave_torch SYSTEM INTERFACE
  ${STRANDWAVE_TORCH_DIR}/include ${STRANDWAVE_TORCH_DIR}/include/torch/csrc/api/include)
target_link_libraries(strandwave_torch INTERFACE strandwave::torch_cpu strandwave::c10)

# LibTorch's own dependencies (CUDA runtime, cuDNN, NCCL, ...) lie in sibling folders of a PyPI tree.
get_filename_component(site_packages ${STRANDWAVE_TORCH_DIR} DIRECTORY)
file(GLOB torch_dependency_dirs ${site_packages}/nvidia/*/lib)
target_link_options(strandwave_torch INTERFACE -Wl,--allow-shlib-undefined)
set(CMAKE_BUILD_RPATH ${torch_lib} ${torch_dependency_dirs})
# Installed and bundled programs look beside themselves first.
set(CMAKE_INSTALL_RPATH "$ORIGIN:$ORIGIN/../lib:${torch_lib}")

if(STRANDWAVE_CUDA)
  file(GLOB cudart ${site_packages}/nvidia/cu13/lib/libcudart.so.13 ${STRANDWAVE_NVCC_DIR}/../lib64/libcudart.so.13
                   ${STRANDWAVE_NVCC_DIR}/../lib/libcudart.so.13)
  list(GET cudart 0 cudart)
  add_library(strandwave::cudart SHARED IMPORTED)
  set_target_properties(strandwave::cudart PROPERTIES IMPORTED_LOCATION ${cudart})
  target_include_directories(strandwave_torch SYSTEM INTERFACE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  # Nothing names a symbol of torch_cuda; without --no-as-needed its back end would silently be absent.
  target_link_options(strandwave_torch INTERFACE -Wl,--no-as-needed)
  target_link_libraries(strandwave_torch INTERFACE strandwave::torch_cuda strandwave::c10_cuda strandwave::cudart)
endif()
message(STATUS "LibTorch ${STRANDWAVE_TORCH_VERSION}: ${STRANDWAVE_TORCH_DIR}")
