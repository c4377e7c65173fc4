# The CPU levels of the target architecture, their compiler flags and their vector width in bytes.

include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)

set(AMCORE_FLAGS_baseline "")
set(AMCORE_FLAGS_v3 -march=x86-64-v3)
set(AMCORE_FLAGS_v4 -march=x86-64-v4 -mprefer-vector-width=512)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # False alarms from GCC's own AVX-512 header (GCC bug 105593); the other levels still warn.
  list(APPEND AMCORE_FLAGS_v4 -Wno-maybe-uninitialized -Wno-uninitialized)
endif()
set(AMCORE_VECTOR_BYTES_baseline 16)
set(AMCORE_VECTOR_BYTES_v3 32)
set(AMCORE_VECTOR_BYTES_v4 64)

# Asking the compiler, not the processor, is right for cross and for universal builds too.
check_cxx_source_compiles("
  #ifndef __x86_64__
  #error
  #endif
  int main() { return 0; }" AMCORE_X86_64)
if(AMCORE_X86_64)
  set(available baseline v3 v4)
else()
  set(available baseline)
endif()

if(NOT AMCORE_ISA_LEVELS)
  set(AMCORE_ISA_LEVELS ${available})
endif()
foreach(level IN LISTS AMCORE_ISA_LEVELS)
  if(NOT level IN_LIST available)
    message(FATAL_ERROR "AMCORE_ISA_LEVELS: '${level}' is not one of ${available}")
  endif()
  if(AMCORE_FLAGS_${level})
    string(JOIN " " flags ${AMCORE_FLAGS_${level}})
    check_cxx_compiler_flag("${flags}" AMCORE_HAS_${level})
    if(NOT AMCORE_HAS_${level})
      message(FATAL_ERROR "The compiler does not know ${flags}: use GCC >= 11 or Clang >= 12, "
        "or set AMCORE_ISA_LEVELS=baseline")
    endif()
  endif()
endforeach()
message(STATUS "CPU levels: ${AMCORE_ISA_LEVELS}")
