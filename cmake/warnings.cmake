add_library(viaduct_warnings INTERFACE)
target_compile_options(viaduct_warnings INTERFACE -Wall -Wextra -Wconversion -Wshadow -Wpedantic -Werror)
