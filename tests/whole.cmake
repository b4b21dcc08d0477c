# What scripts/test runs beside the unit and guest tests of this build: the lab, the sanitizers'
# builds of the same tests, and the checks of the source. Tests labelled "soak" run with --soak only.

# Every suite of lab_tests is one boot of the lab.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS lab/suites.txt)
file(STRINGS lab/suites.txt lab_suites)
foreach(suite IN LISTS lab_suites)
    string(REGEX MATCH "^([A-Za-z]+) +([0-9]+)( +soak x([0-9]+))?$" matched "${suite}")
    set(run ${CMAKE_CURRENT_SOURCE_DIR}/lab/run ${CMAKE_MATCH_2} $<TARGET_FILE:lab_tests>
            --gtest_brief=1 --gtest_filter=${CMAKE_MATCH_1}.*)
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
add_test(NAME lab.AllSuitesAreListed
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/lab/compare-suites $<TARGET_FILE:lab_tests>)

# A whole run of tests that need KVM, here or, if this host has none, in the lab.
function(add_guest_run name program filter time_limit)
    set(properties TIMEOUT ${time_limit} ${ARGN})
    if(NOT EXISTS /dev/kvm)
        math(EXPR whole_limit "3 * (${time_limit} + 60)")
        set(properties ${ARGN} TIMEOUT ${whole_limit} RESOURCE_LOCK lab COST 1000)
    endif()
    add_test(NAME ${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/guest/run ${time_limit} ${program}
        --gtest_brief=1 --gtest_filter=${filter})
    set_tests_properties(${name} PROPERTIES ${properties})
endfunction()

set(rates *Throttle*)
if(NOT EXISTS /dev/kvm)
    # Not the rates: four seconds of an emulated machine are too few to measure them.
    add_guest_run(guest $<TARGET_FILE:guest_tests> -${rates} 900)
endif()
set(soak LABELS soak ENVIRONMENT VIADUCT_TIMES=20)
add_guest_run(guest.soak $<TARGET_FILE:guest_tests> Resets.*:Lifecycle.*:*Switch*-${rates} 1800 ${soak})
add_guest_run(rates.soak $<TARGET_FILE:guest_tests> ${rates} 1800 ${soak} RUN_SERIAL ON)

set(sanitized_guest -${rates})
set(sanitized)
if(NOT EXISTS /dev/kvm)
    # What is checked there is emulated: it takes minutes, and keeps no deadlines.
    set(sanitized LABELS soak ENVIRONMENT VIADUCT_NO_DEADLINES=1)
    string(APPEND sanitized_guest ":QmpWhileADeviceIsBusy.Answers*:Ctl.CompletesWhatTheMachineHas")
endif()
foreach(preset IN ITEMS asan+ubsan tsan)
    set(build ${CMAKE_SOURCE_DIR}/build/${preset})
    add_test(NAME ${preset}.unit COMMAND ${build}/unit_tests --gtest_brief=1)
    set_tests_properties(${preset}.unit PROPERTIES TIMEOUT 1200)
    add_guest_run(${preset}.guest ${build}/guest_tests "${sanitized_guest}" 2400 ${sanitized})
    add_guest_run(${preset}.rates ${build}/guest_tests ${rates} 1200 RUN_SERIAL ON ${sanitized})
endforeach()
set_property(TEST tsan.unit tsan.guest tsan.rates PROPERTY LABELS soak)

# 200 kills of each kind.
add_test(NAME durability.soak COMMAND $<TARGET_FILE:unit_tests> --gtest_brief=1
    --gtest_filter=FlushedRecords.*)
set_tests_properties(durability.soak PROPERTIES TIMEOUT 1800 LABELS soak
    ENVIRONMENT VIADUCT_TIMES=10)

add_test(NAME ceph.unit COMMAND ${CMAKE_SOURCE_DIR}/build/ceph/rbd_tests --gtest_brief=1)
set_tests_properties(ceph.unit PROPERTIES TIMEOUT 120 LABELS soak)
set(ceph_tests ${CMAKE_SOURCE_DIR}/build/ceph/ceph_tests --gtest_brief=1)
add_test(NAME ceph COMMAND ${ceph_tests} --gtest_filter=CephImage.*)
set_tests_properties(ceph PROPERTIES TIMEOUT 300 LABELS soak)
add_test(NAME lab.ceph COMMAND lab/run 600 ${ceph_tests} --gtest_filter=ExportedCephImage.*
    WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
set_tests_properties(lab.ceph PROPERTIES TIMEOUT 2000 LABELS soak RESOURCE_LOCK lab COST 1000)

foreach(name IN ITEMS relay qmp)
    add_test(NAME fuzz.${name} COMMAND ${CMAKE_SOURCE_DIR}/scripts/fuzz ${name} --seconds 120)
    set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 900 LABELS soak)
endforeach()

foreach(option IN ITEMS vduse image)
    set(demo ${CMAKE_SOURCE_DIR}/scripts/demo)
    if(option STREQUAL "image")
        list(APPEND demo --image)
    endif()
    add_test(NAME demo.${option} COMMAND ${demo})
    set_tests_properties(demo.${option} PROPERTIES TIMEOUT 900 LABELS soak RESOURCE_LOCK lab)
endforeach()

foreach(check IN ITEMS format tidy house)
    add_test(NAME source.${check} COMMAND ${CMAKE_SOURCE_DIR}/scripts/check-source ${check})
    set_tests_properties(source.${check} PROPERTIES TIMEOUT 1200)
endforeach()

add_test(NAME source.tidy-all COMMAND ${CMAKE_SOURCE_DIR}/scripts/check-source tidy-all)
set_tests_properties(source.tidy-all PROPERTIES TIMEOUT 3600 LABELS soak)

add_test(NAME mutants COMMAND ${CMAKE_SOURCE_DIR}/scripts/mutants)
set_tests_properties(mutants PROPERTIES TIMEOUT 3600 LABELS soak RUN_SERIAL ON)

# GoogleTest is content with a filter that names no test.
get_property(tests DIRECTORY PROPERTY TESTS)
set_property(TEST ${tests} PROPERTY FAIL_REGULAR_EXPRESSION "PASSED  . 0 tests")
