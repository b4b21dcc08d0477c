# The floors of the house, lowest first. Each is a library that may use the floors below it; a new
# file in a floor's folder is part of it.

function(add_floor name)
    cmake_parse_arguments(FLOOR "" "" "FOLDERS;EXCEPT;USES" ${ARGN})
    set(patterns ${FLOOR_FOLDERS})
    list(TRANSFORM patterns APPEND "/*.cpp")
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${patterns})
    list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
    foreach(folder IN LISTS FLOOR_EXCEPT)
        list(FILTER sources EXCLUDE REGEX "/${folder}")
    endforeach()
    add_library(${name} STATIC ${sources})
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC ${FLOOR_USES} PRIVATE viaduct_warnings)
endfunction()

add_floor(viaduct_base FOLDERS base USES Threads::Threads ${URING_LIBRARY})
# VIRTIO_RING_NO_LEGACY leaves out the part of <linux/virtio_ring.h> that is not C++.
target_compile_definitions(viaduct_base PUBLIC SPDLOG_FMT_EXTERNAL VIRTIO_RING_NO_LEGACY)
target_include_directories(viaduct_base SYSTEM PUBLIC ${Boost_INCLUDE_DIRS})

add_floor(viaduct_devices FOLDERS devices USES viaduct_base)

add_floor(viaduct_firmware FOLDERS firmware USES viaduct_base)
include(cmake/asl.cmake)
add_asl(viaduct_firmware firmware/acpi)

add_floor(viaduct_vdpa FOLDERS vdpa
    EXCEPT vdpa/management/ vdpa/export/ vdpa/soft/image/nbd/ vdpa/soft/image/rbd/
    USES viaduct_devices)
# Images across a network, for the programs that carry their libraries.
add_library(viaduct_network_images INTERFACE)
if(VIADUCT_NBD)
    add_floor(viaduct_nbd FOLDERS vdpa/soft/image/nbd USES viaduct_vdpa ${NBD_LIBRARY})
    target_link_libraries(viaduct_network_images INTERFACE viaduct_nbd)
endif()
if(VIADUCT_RBD)
    add_floor(viaduct_rbd FOLDERS vdpa/soft/image/rbd USES viaduct_vdpa ${RBD_LIBRARY} ${RADOS_LIBRARY})
    target_link_libraries(viaduct_network_images INTERFACE viaduct_rbd)
endif()

# The host's vDPA devices: for programs beside the VMM, which itself opens what it is given.
add_floor(viaduct_management FOLDERS vdpa/management
    USES viaduct_devices ${MNL_LIBRARY} ${CMAKE_DL_LIBS})

add_floor(viaduct_export_daemon FOLDERS vdpa/export USES viaduct_vdpa viaduct_management)
set_source_files_properties(vdpa/export/command_line.cpp PROPERTIES COMPILE_DEFINITIONS
    "VIADUCT_VERSION=\"${PROJECT_VERSION}\"")

# The QMP protocol, which knows no machine: a library of its own, for the fuzzer that needs no more.
add_floor(viaduct_control FOLDERS vmm/control EXCEPT vmm/control/commands/
    USES viaduct_base Boost::json)
add_floor(viaduct_vmm FOLDERS vmm EXCEPT vmm/ctl/ vmm/programs/ "vmm/control/[^/]+$"
    USES viaduct_control viaduct_vdpa viaduct_firmware)
# Asio's own code is compiled once, in vmm/control/asio.cpp. One thread runs the io_context and its
# queue is behind a mutex, so the fences, which TSan does not know, order nothing.
target_compile_definitions(viaduct_control PUBLIC BOOST_ASIO_SEPARATE_COMPILATION
    BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_FENCED_BLOCK)
set_source_files_properties(vmm/control/version.cpp PROPERTIES COMPILE_DEFINITIONS
    "VERSION_MAJOR=${PROJECT_VERSION_MAJOR};VERSION_MINOR=${PROJECT_VERSION_MINOR};VERSION_MICRO=${PROJECT_VERSION_PATCH}")
set_source_files_properties(vmm/config.cpp PROPERTIES COMPILE_DEFINITIONS
    "VIADUCT_VERSION=\"${PROJECT_VERSION}\"")

# What viaductctl is made of: a program beside the VMM.
add_floor(viaduct_ctl FOLDERS vmm/ctl USES viaduct_management Boost::json)
set_source_files_properties(vmm/ctl/command_line.cpp PROPERTIES COMPILE_DEFINITIONS
    "VIADUCT_VERSION=\"${PROJECT_VERSION}\"")
