# Eigen's headers as part of the source tree: never the system's, nothing downloaded here.
# An sdist brings them in cpp/third_party/eigen. A checkout takes them, once, from the build
# requirement cmeel-eigen as installed for the building interpreter.

set(AMCORE_EIGEN_VERSION 3.4.1)
set(AMCORE_EIGEN_DIR "${CMAKE_CURRENT_SOURCE_DIR}/cpp/third_party/eigen")

function(amcore_eigen_version directory result)
  set(version "")
  set(macros "${directory}/Eigen/src/Core/util/Macros.h")
  if(EXISTS "${macros}" AND EXISTS "${directory}/Eigen/Core")
    file(READ "${macros}" text LIMIT 4096)
    foreach(part IN ITEMS WORLD MAJOR MINOR)
      string(REGEX MATCH "#define EIGEN_${part}_VERSION ([0-9]+)" _ "${text}")
      list(APPEND version "${CMAKE_MATCH_1}")
    endforeach()
    list(JOIN version "." version)
  endif()
  set(${result} "${version}" PARENT_SCOPE)
endfunction()

amcore_eigen_version("${AMCORE_EIGEN_DIR}" version)
if(NOT version STREQUAL AMCORE_EIGEN_VERSION)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c [[
from importlib.metadata import distribution
print(distribution("cmeel-eigen").locate_file("cmeel.prefix/include/eigen3"))
]]
    OUTPUT_VARIABLE source OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status ERROR_QUIET)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "Eigen's headers are missing. For ${Python_EXECUTABLE}: "
      "`pip install cmeel-eigen==${AMCORE_EIGEN_VERSION}`. (A build with isolation does it itself.)")
  endif()
  amcore_eigen_version("${source}" version)
  if(NOT version STREQUAL AMCORE_EIGEN_VERSION)
    message(FATAL_ERROR
      "amcore needs Eigen ${AMCORE_EIGEN_VERSION}, and ${source} holds '${version}'")
  endif()
  # Copy under a name of our own and rename, so that an interrupted copy is never taken for whole.
  string(RANDOM suffix)
  set(copy "${AMCORE_EIGEN_DIR}.${suffix}")
  file(COPY "${source}/Eigen" DESTINATION "${copy}")
  file(REMOVE_RECURSE "${AMCORE_EIGEN_DIR}")
  file(RENAME "${copy}" "${AMCORE_EIGEN_DIR}")
  message(STATUS "Eigen ${version}: copied from ${source}")
endif()
