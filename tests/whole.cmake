# What scripts/test runs beside the unit and guest tests of this build: the lab, the sanitizers'
# builds of the same tests, and the checks of the source. Tests labelled "soak" run with --soak only.

# Every suite of lab_tests is one boot of the lab.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS lab/suites.txt)
file(STRINGS lab/suites.txt lab_suites)
foreach(suite IN LISTS lab_suites)
    string(REGEX MATCH "^([A-Za-z]+) +([0-9]+)( +soak x([0-9]+))?$" matched "${suite}")
    set(run ${CMAKE_CURRENT_SOURCE_DIR}/lab/run-suite ${CMAKE_MATCH_2} $<TARGET_FILE:lab_tests>
            ${CMAKE_MATCH_1})
    math(EXPR time_limit "3 * (${CMAKE_MATCH_2} + 60)")
    set(name lab.${CMAKE_MATCH_1})
    # First of all: one runs at a time, and all else beside it.
    set(properties TIMEOUT ${time_limit} RESOURCE_LOCK lab COST 1000)
    if(CMAKE_MATCH_3)
        string(APPEND name .soak)
        list(APPEND properties LABELS soak ENVIRONMENT VIADUCT_TIMES=${CMAKE_MATCH_4})
    endif()
    add_test(NAME ${name} COMMAND ${run} WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES ${properties})
endforeach()

function(add_guest_soak name filter)
    add_test(NAME ${name}.soak COMMAND guest_tests --gtest_brief=1 --gtest_filter=${filter})
    set_tests_properties(${name}.soak PROPERTIES TIMEOUT 1800 LABELS soak
        ENVIRONMENT VIADUCT_TIMES=20 ${ARGN})
endfunction()
add_guest_soak(guest Resets.*:Lifecycle.*:*Switch*-*Throttle*)
add_guest_soak(rates *Throttle* RUN_SERIAL ON)

function(add_sanitized_tests name program filter)
    foreach(preset IN ITEMS asan+ubsan tsan)
        add_test(NAME ${preset}.${name}
            COMMAND ${CMAKE_SOURCE_DIR}/build/${preset}/${program} --gtest_brief=1 --gtest_filter=${filter})
        set_tests_properties(${preset}.${name} PROPERTIES TIMEOUT 1200 ${ARGN})
    endforeach()
    set_property(TEST tsan.${name} PROPERTY LABELS soak)
endfunction()
add_sanitized_tests(unit unit_tests *)
add_sanitized_tests(guest guest_tests -*Throttle*)
add_sanitized_tests(rates guest_tests *Throttle* RUN_SERIAL ON)

foreach(name IN ITEMS relay qmp)
    add_test(NAME fuzz.${name} COMMAND ${CMAKE_SOURCE_DIR}/scripts/fuzz ${name} --seconds 120)
    set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 900 LABELS soak)
endforeach()

foreach(check IN ITEMS format tidy house)
    add_test(NAME source.${check} COMMAND ${CMAKE_SOURCE_DIR}/scripts/check-source ${check})
    set_tests_properties(source.${check} PROPERTIES TIMEOUT 1200)
endforeach()

add_test(NAME source.tidy-all COMMAND ${CMAKE_SOURCE_DIR}/scripts/check-source tidy-all)
set_tests_properties(source.tidy-all PROPERTIES TIMEOUT 3600 LABELS soak)

add_test(NAME mutants COMMAND ${CMAKE_SOURCE_DIR}/scripts/mutants)
set_tests_properties(mutants PROPERTIES TIMEOUT 3600 LABELS soak RUN_SERIAL ON)
