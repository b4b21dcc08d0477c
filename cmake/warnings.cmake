add_library(viaduct_warnings INTERFACE)
target_compile_options(viaduct_warnings INTERFACE -Wall -Wextra -Wconversion -Wshadow -Wpedantic -Werror)
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC takes the anonymous namespace of a file that another includes for a header's.
    target_compile_options(viaduct_warnings INTERFACE -Wno-subobject-linkage)
endif()
