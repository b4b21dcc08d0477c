// A function's INTx line through the I/O APIC: the handler reads ISR, which lowers the line again.
#pragma once

#include <cstdint>

#include "guest-images/probe/virtio_pci.hpp"

namespace probe {

class IntxLine {
public:
    // The GSI is `gsi=`, or the Interrupt Line register, or where that is not set what viaduct's
    // DSDT says; level-triggered, active-high unless the MADT says other.
    explicit IntxLine(const virtio::Transport& transport);

    // Takes interrupts from now on, or lets them be.
    void connect();
    void disconnect() const;

    uint32_t gsi() const { return gsi_; }
    // Interrupts taken whose ISR had the queue bit, and whose ISR was 0.
    uint32_t queue_count() const;
    uint32_t spurious_count() const;

private:
    static void handle(void* line);

    const virtio::Transport& transport_;
    uint32_t gsi_;
    uint8_t vector_;
    uint32_t queue_count_ = 0;
    uint32_t spurious_count_ = 0;
};

}  // namespace probe
