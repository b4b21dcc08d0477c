/// Puts a kernel, its initrd, its command line and what its boot protocol wants to be told into
/// guest memory, and says in which state the first vCPU enters it. Three kinds are recognised by
/// their content:
///   bzimage    Linux, boot protocol 2.12 or newer with the 64-bit entry point (Linux 3.8 on)
///   elf_pvh    ELF64 for x86-64 or ELF32 for i386 with a Xen PHYS32_ENTRY note: vmlinux with
///              CONFIG_PVH, bare-metal images
///   elf_linux  ELF64 for x86-64 without that note, entered as Linux's startup_64
///
/// The file is read straight into guest memory, which is most of the time that starting takes.
/// Errors: Error in one line, for anything in the files or the command line that cannot work.
#pragma once

#include <string>

#include "base/address_space.hpp"
#include "firmware/cpu_entry.hpp"
#include "firmware/memory_map.hpp"

namespace viaduct::firmware {

struct BootRequest {
    std::string kernel;
    std::string initrd{};  // empty: none
    std::string command_line{};
    /// From build_acpi(); 0: the guest gets no ACPI tables.
    Gpa rsdp{};
    /// True for memory that nothing was written to (a new memfd): what must be zero is left alone.
    /// False when a machine starts again in its old memory.
    bool memory_is_zero = true;
};

enum class KernelKind { bzimage, elf_pvh, elf_linux };

struct LoadedKernel {
    KernelKind kind = KernelKind::bzimage;
    CpuEntry cpu;
    /// All memory that the kernel needs before it knows its memory map.
    MemoryRange kernel;
    MemoryRange initrd;  // size 0: none
};

/// `ram` holds the guest's memory at its physical addresses, as layout.ram() says.
[[nodiscard]] LoadedKernel load_kernel(const BootRequest& request, const X86Layout& layout,
                                       const AddressSpace& ram);

}  // namespace viaduct::firmware
