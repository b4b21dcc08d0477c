# add_asl(TARGET FOLDER): compiles each FOLDER/NAME.asl with iasl and makes it part of TARGET as
#   std::span<const std::byte> viaduct::firmware::acpi::NAME() noexcept
# which FOLDER/NAME.hpp declares. Warnings of iasl are errors. The compiler's preprocessor runs
# first, because iasl's own has no macros with arguments.

function(add_asl target folder)
    file(GLOB tables CONFIGURE_DEPENDS ${folder}/*.asl)
    foreach(table ${tables})
        get_filename_component(name ${table} NAME_WE)
        set(stem ${CMAKE_CURRENT_BINARY_DIR}/acpi/${name})
        add_custom_command(
            OUTPUT ${stem}.aml.cpp
            COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/acpi
            COMMAND ${CMAKE_CXX_COMPILER} -E -P -undef -x c ${table} -o ${stem}.i.asl
            COMMAND ${IASL} -vs -ve -we -p ${stem} ${stem}.i.asl
            COMMAND ${CMAKE_COMMAND} -D NAME=${name} -D AML=${stem}.aml -D OUTPUT=${stem}.aml.cpp
                    -P ${CMAKE_SOURCE_DIR}/cmake/aml-to-cpp.cmake
            DEPENDS ${table} ${CMAKE_SOURCE_DIR}/cmake/aml-to-cpp.cmake
            COMMENT "Compiling ACPI table ${name}.asl"
            VERBATIM)
        target_sources(${target} PRIVATE ${stem}.aml.cpp)
    endforeach()
endfunction()
