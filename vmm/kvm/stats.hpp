/// KVM's own counters of a VM or vCPU (KVM_GET_STATS_FD, KVM API 4.133): a self-describing file with
/// a header, descriptors and 64-bit values. `exits`, `mmio_exits`, `io_exits` are among a vCPU's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.hpp"

namespace viaduct::kvm {

struct Statistic {
    std::string name;
    std::vector<std::uint64_t> values;  // one, or a histogram's buckets
};

class Stats {
public:
    /// `vm_or_vcpu` is a KVM VM or vCPU descriptor. Throws SystemError on kernels before 5.14.
    explicit Stats(int vm_or_vcpu);

    /// All counters, now.
    [[nodiscard]] std::vector<Statistic> read() const;

private:
    struct Descriptor {
        std::string name;
        std::uint32_t offset;  // bytes, from the data block's start
        std::uint16_t count;
    };

    Fd fd_;
    std::uint32_t values_offset_ = 0;
    std::vector<Descriptor> descriptors_;
};

}  // namespace viaduct::kvm
