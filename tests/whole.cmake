# What scripts/test runs beside the unit and guest tests of this build: the lab, the sanitizers'
# builds of the same tests, and the checks of the source. Tests labelled "soak" run with --soak only.

# What takes minutes to make is made beside the tests that do not need it. ARGN: the command.
function(add_preparation name)
    add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES FIXTURES_SETUP ${name} TIMEOUT 3600 COST 2000)
endfunction()

# The lab's machine, and the Linux guest that most of its tests boot.
add_preparation(lab.machine bash -c "scripts/lab -- true && guest-images/linux/build")
# Its tests run one at a time, all else beside them: they come first.
set(in_the_lab FIXTURES_REQUIRED lab.machine RESOURCE_LOCK lab COST 1000)

# Every suite of lab_tests is one boot of the lab.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS lab/suites.txt)
file(STRINGS lab/suites.txt lab_suites)
foreach(suite IN LISTS lab_suites)
    string(REGEX MATCH "^([A-Za-z]+) +([0-9]+)( +soak x([0-9]+))?$" matched "${suite}")
    set(run ${CMAKE_CURRENT_SOURCE_DIR}/lab/run ${CMAKE_MATCH_2} $<TARGET_FILE:lab_tests>
            --gtest_brief=1 --gtest_filter=${CMAKE_MATCH_1}.*)
    math(EXPR time_limit "3 * (${CMAKE_MATCH_2} + 60)")
    set(name lab.${CMAKE_MATCH_1})
    set(properties TIMEOUT ${time_limit} ${in_the_lab})
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
        set(properties TIMEOUT ${whole_limit} ${in_the_lab} ${ARGN})
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

# The sanitizers' builds of the same tests. Each is made with what time the others leave.
set(sanitized_guest -${rates})
set(sanitized LABELS soak)
if(NOT EXISTS /dev/kvm)
    # What is checked there is emulated, and keeps no deadlines.
    list(APPEND sanitized ENVIRONMENT VIADUCT_NO_DEADLINES=1)
    string(APPEND sanitized_guest ":QmpWhileADeviceIsBusy.Answers*:Ctl.CompletesWhatTheMachineHas")
endif()
foreach(preset IN ITEMS asan+ubsan tsan)
    set(build ${CMAKE_SOURCE_DIR}/build/${preset})
    foreach(program IN ITEMS unit_tests guest_tests)
        add_preparation(${preset}.${program} nice scripts/build ${preset} ${program})
    endforeach()
    add_test(NAME ${preset}.unit COMMAND ${build}/unit_tests --gtest_brief=1)
    set_tests_properties(${preset}.unit PROPERTIES TIMEOUT 1200
        FIXTURES_REQUIRED ${preset}.unit_tests)
    add_guest_run(${preset}.guest ${build}/guest_tests "${sanitized_guest}" 2400 ${sanitized})
    add_guest_run(${preset}.rates ${build}/guest_tests ${rates} 1200 RUN_SERIAL ON ${sanitized})
    set_property(TEST ${preset}.guest ${preset}.rates APPEND PROPERTY
        FIXTURES_REQUIRED ${preset}.guest_tests)
    set_tests_properties(${preset}.guest_tests PROPERTIES DEPENDS ${preset}.unit_tests LABELS soak)
endforeach()
set_property(TEST tsan.unit_tests tsan.unit PROPERTY LABELS soak)

# 200 kills of each kind.
add_test(NAME durability.soak COMMAND $<TARGET_FILE:unit_tests> --gtest_brief=1
    --gtest_filter=FlushedRecords.*)
set_tests_properties(durability.soak PROPERTIES TIMEOUT 1800 LABELS soak
    ENVIRONMENT VIADUCT_TIMES=10)

add_preparation(ceph.tests nice scripts/build ceph rbd_tests ceph_tests)
set_tests_properties(ceph.tests PROPERTIES LABELS soak)
add_test(NAME ceph.unit COMMAND ${CMAKE_SOURCE_DIR}/build/ceph/rbd_tests --gtest_brief=1)
set_tests_properties(ceph.unit PROPERTIES TIMEOUT 120 LABELS soak)
set(ceph_tests ${CMAKE_SOURCE_DIR}/build/ceph/ceph_tests --gtest_brief=1)
add_test(NAME ceph COMMAND ${ceph_tests} --gtest_filter=CephImage.*)
set_tests_properties(ceph PROPERTIES TIMEOUT 300 LABELS soak)
add_test(NAME lab.ceph COMMAND lab/run 600 ${ceph_tests} --gtest_filter=ExportedCephImage.*
    WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
set_tests_properties(lab.ceph PROPERTIES TIMEOUT 2000 LABELS soak ${in_the_lab})
set_property(TEST ceph.unit ceph lab.ceph APPEND PROPERTY FIXTURES_REQUIRED ceph.tests)

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
    set_tests_properties(demo.${option} PROPERTIES TIMEOUT 900 LABELS soak ${in_the_lab})
endforeach()

foreach(check IN ITEMS format house tidy-all)
    add_test(NAME source.${check} COMMAND ${CMAKE_SOURCE_DIR}/scripts/check-source ${check})
    set_tests_properties(source.${check} PROPERTIES TIMEOUT 1200)
endforeach()
set_tests_properties(source.tidy-all PROPERTIES TIMEOUT 3600 LABELS soak)

add_test(NAME mutants COMMAND ${CMAKE_SOURCE_DIR}/scripts/mutants)
set_tests_properties(mutants PROPERTIES TIMEOUT 3600 LABELS soak RUN_SERIAL ON)

# GoogleTest is content with a filter that names no test.
get_property(tests DIRECTORY PROPERTY TESTS)
set_property(TEST ${tests} PROPERTY FAIL_REGULAR_EXPRESSION "PASSED  . 0 tests")
