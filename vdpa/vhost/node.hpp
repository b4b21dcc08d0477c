/// The character device /dev/vhost-vdpa-N and the three system calls that work on it. The seam at
/// which tests put a recording of a real device in the kernel's place.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/mapping.hpp"

namespace viaduct::vhost {

class Node {
public:
    Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    virtual ~Node() = default;

    /// ioctl(2): its result, and errno when that is negative.
    virtual int ioctl(unsigned long request, void* argument) = 0;
    /// write(2) of one IOTLB message: true when it was taken whole; errno otherwise.
    virtual bool write(std::span<const std::byte> message) = 0;
    /// mmap(2) of the queue's doorbell page, write-only and shared; empty when there is none.
    virtual Mapping map_doorbell(unsigned queue) = 0;
};

/// Opens `path`. Exclusive: one process at a time, and it resets the device. Throws Error for a
/// path that is missing, busy or forbidden, each with what to do.
std::unique_ptr<Node> open_node(const std::string& path);

/// Throws Error when there is no such descriptor, saying where it has to come from.
void check_open(int fd);

/// Takes over a descriptor that somebody privileged has opened. Throws as check_open().
std::unique_ptr<Node> adopt_node(int fd);

}  // namespace viaduct::vhost
