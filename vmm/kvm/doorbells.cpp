#include "vmm/kvm/doorbells.hpp"

#include "base/error.hpp"
#include "base/log.hpp"

namespace viaduct::kvm {
namespace {

class IoEventFd final : public devices::Doorbells::Registration {
public:
    IoEventFd(const Vm& vm, Gpa address, const EventFd& kick)
        : vm_(vm), address_(address), kick_(kick) {
        vm_.add_ioeventfd(address_, kick_);
    }
    IoEventFd(const IoEventFd&) = delete;
    IoEventFd& operator=(const IoEventFd&) = delete;
    ~IoEventFd() override {
        try {
            vm_.remove_ioeventfd(address_, kick_);
        } catch (const Error& error) {
            log::error("doorbell at {:#x} stays registered: {}", address_.value, error.what());
        }
    }

private:
    const Vm& vm_;
    Gpa address_;
    const EventFd& kick_;
};

class PageSlot final : public devices::Doorbells::Registration {
public:
    PageSlot(MemorySlots& slots, Gpa address, std::span<std::byte> page)
        : slot_(slots.add(address, page)) {}

private:
    MemorySlots::Slot slot_;
};

}  // namespace

std::unique_ptr<Doorbells::Registration> Doorbells::attach(Gpa address, const EventFd& kick) {
    return std::make_unique<IoEventFd>(vm_, address, kick);
}

std::unique_ptr<Doorbells::Registration> Doorbells::map_page(Gpa address,
                                                             std::span<std::byte> page) {
    return std::make_unique<PageSlot>(slots_, address, page);
}

}  // namespace viaduct::kvm
