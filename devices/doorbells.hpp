/// Guest physical addresses at which a guest's store notifies somebody without the VMM: by an
/// eventfd (ioeventfd), or by a page of the device itself mapped into the guest.
#pragma once

#include <memory>
#include <span>

#include "base/address.hpp"
#include "base/event_fd.hpp"

namespace viaduct::devices {

class Doorbells {
public:
    /// In force while it lives.
    class Registration {
    public:
        virtual ~Registration() = default;
    };

    virtual ~Doorbells() = default;
    /// A store of any width at exactly `address` signals `kick`.
    virtual std::unique_ptr<Registration> attach(Gpa address, const EventFd& kick) = 0;
    /// Guest accesses to the page at `address` reach `page` (both aligned to the host's page size).
    virtual std::unique_ptr<Registration> map_page(Gpa address, std::span<std::byte> page) = 0;
};

}  // namespace viaduct::devices
