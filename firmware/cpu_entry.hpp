/// The state in which the first vCPU starts. The loader writes the GDT and the page tables into
/// guest memory; whoever owns the vCPU sets the registers to what is said here and nothing else:
/// all general registers not named are 0, RFLAGS is 2, interrupts are off.
#pragma once

#include <cstdint>

#include "base/address_space.hpp"
#include "firmware/memory_map.hpp"

namespace viaduct::firmware {

enum class EntryMode {
    /// xen/include/public/arch-x86/hvm/start_info.h: CR0.PE alone (KVM also wants CR0.ET, bit 4),
    /// CR4 = 0, EFER = 0, RBX = start info.
    protected32_pvh,
    /// Linux, Documentation/arch/x86/boot.rst, "64-bit Boot Protocol": CR0.PE and CR0.PG,
    /// CR4.PAE, EFER.LME and EFER.LMA, RSI = zero page.
    long64_linux,
};

/// A segment register with its hidden part, in the terms of struct kvm_segment. The base is 0.
struct Segment {
    std::uint16_t selector = 0;
    std::uint32_t limit = 0;  // in bytes, also when granular
    std::uint8_t type = 0;
    bool code_or_data = true;  // S
    bool default_32 = false;   // D/B
    bool long_mode = false;    // L
    bool granular = false;     // G

    friend bool operator==(const Segment&, const Segment&) = default;
};

struct CpuEntry {
    EntryMode mode = EntryMode::long64_linux;
    Gpa rip;
    std::uint64_t rbx = 0;
    std::uint64_t rsi = 0;
    Segment code;  // CS
    Segment data;  // DS, ES, FS, GS, SS
    Segment task;  // TR
    Gpa gdt;
    std::uint16_t gdt_limit = 0;
    Gpa page_tables;  // CR3; long64_linux only
};

/// Segments and GDT for a 32-bit PVH entry. Writes the GDT.
[[nodiscard]] CpuEntry pvh_entry(const AddressSpace& ram, Gpa rip, Gpa start_info);

/// Segments, GDT and page tables for Linux's 64-bit entry. Writes the GDT and an identity map of
/// the first 4 GiB, in 2 MiB pages because not every CPU has larger ones.
[[nodiscard]] CpuEntry linux_entry(const AddressSpace& ram, Gpa rip, Gpa zero_page);

}  // namespace viaduct::firmware
