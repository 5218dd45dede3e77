# Tests that are scripts: tests/cli/*_test.py run the real program on real files, tests/python/*_test.py
# look at the tree, the documentation and the operators from Python. Exit code 77 means skipped (with
# the reason printed). A first line `# label: NAME` gives the ctest label; cli otherwise.
find_program(STRANDWAVE_TEST_PYTHON python3 PATHS ${CMAKE_SOURCE_DIR}/.venv/bin NO_DEFAULT_PATH)
find_program(STRANDWAVE_TEST_PYTHON python3)

file(GLOB scripts CONFIGURE_DEPENDS cli/*_test.py python/*_test.py)
if(NOT (STRANDWAVE_AUDIO AND STRANDWAVE_SNDFILE))
  # Commands and documentation of the audio half.
  list(FILTER scripts EXCLUDE REGEX "/(audio_[^/]*|docs_commands|help_docs)_test\\.py$")
endif()
foreach(script ${scripts})
  get_filename_component(folder ${script} DIRECTORY)
  get_filename_component(folder ${folder} NAME)
  get_filename_component(stem ${script} NAME_WE)
  file(STRINGS ${script} label_line LIMIT_COUNT 3 REGEX "^# label: ")
  set(label cli)
  if(label_line)
    string(REGEX REPLACE "^# label: " "" label "${label_line}")
  endif()
  set(name ${folder}_${stem})
  add_test(NAME ${name} COMMAND ${STRANDWAVE_TEST_PYTHON} -B ${script})
  set_tests_properties(${name} PROPERTIES LABELS "${label}" TIMEOUT 900 SKIP_RETURN_CODE 77)
  set_property(TEST ${name} PROPERTY ENVIRONMENT
    "STRANDWAVE_PROGRAM=$<TARGET_FILE:strandwave>"
    "STRANDWAVE_KERNELS=$<TARGET_FILE:strandwave_kernels>"
    "STRANDWAVE_BINARY_DIR=${CMAKE_BINARY_DIR}")
endforeach()

# Under the sanitizers run the files that handle memory by hand: kernels and readers
# (scripts/test --preset debug).
add_custom_target(sanitizer_tests)
get_property(tests DIRECTORY PROPERTY TESTS)
list(FILTER tests INCLUDE REGEX "^(kernels|base|genomics_io|audio_io)_.*_test$")
foreach(test ${tests})
  add_dependencies(sanitizer_tests ${test})
  set_property(TEST ${test} APPEND PROPERTY LABELS sanitizer)
endforeach()
