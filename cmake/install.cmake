# `cmake --install BUILD --prefix PREFIX`: a tree that may be moved as a whole.
#   bin/strandwave                  the program
#   lib/libstrandwave_kernels.so    the operators, for C++ and for torch.ops.load_library
#   lib/strandwave/*.a              the other libraries
#   include/strandwave-root/        headers, included from the root: "kernels/selective_scan/selective_scan.h"
#   lib/cmake/strandwave/           find_package(strandwave): targets strandwave::kernels, strandwave::core,
#                                   strandwave::genomics, strandwave::audio
# LibTorch is not copied: the tree finds it where it was at build time, or where LD_LIBRARY_PATH says.
include(CMakePackageConfigHelpers)

set(package_dir lib/cmake/strandwave)
set_target_properties(strandwave_kernels PROPERTIES EXPORT_NAME kernels)
set_target_properties(strandwave PROPERTIES INSTALL_RPATH "$ORIGIN/../lib;${STRANDWAVE_TORCH_LIBRARY_DIRS}")
set_target_properties(strandwave_kernels PROPERTIES INSTALL_RPATH "$ORIGIN;${STRANDWAVE_TORCH_LIBRARY_DIRS}")

install(TARGETS strandwave RUNTIME DESTINATION bin)
set(libraries strandwave_kernels core_base core genomics_io genomics)
set(folders kernels core genomics)
if(STRANDWAVE_AUDIO)
  list(APPEND libraries audio_io audio)
  list(APPEND folders audio)
endif()
install(TARGETS ${libraries} EXPORT strandwave-targets
        LIBRARY DESTINATION lib
        ARCHIVE DESTINATION lib/strandwave
        INCLUDES DESTINATION include/strandwave-root)
install(EXPORT strandwave-targets NAMESPACE strandwave:: DESTINATION ${package_dir})

# What the kernels keep to themselves stays here.
install(DIRECTORY ${folders} DESTINATION include/strandwave-root
        FILES_MATCHING PATTERN "*.h"
        REGEX "/kernels/.*(-inl|_check|_params|_raw|_division|_rows|_target|_glue|_types|/half|/benchmark)\\.h$" EXCLUDE)

configure_package_config_file(cmake/strandwave-config.cmake.in
                              ${CMAKE_BINARY_DIR}/package/strandwave-config.cmake
                              INSTALL_DESTINATION ${package_dir}
                              NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/strandwave-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/package/strandwave-config.cmake
              ${CMAKE_BINARY_DIR}/package/strandwave-config-version.cmake
              cmake/torch.cmake
        DESTINATION ${package_dir})
install(FILES LICENSE DESTINATION share/doc/strandwave)
