/// KVM's own counters of a VM or vCPU (KVM_GET_STATS_FD, KVM API 4.133): a self-describing file
/// with a header, descriptors and 64-bit values. `exits`, `mmio_exits`, `io_exits` are among a
/// vCPU's.
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
    /// `vm_or_vcpu` is a KVM VM or vCPU descriptor; a vCPU's must not be running: KVM would wait
    /// for its next exit. Throws SystemError on kernels before 5.14.
    explicit Stats(int vm_or_vcpu);

    /// All counters, now.
    [[nodiscard]] std::vector<Statistic> read() const;

private:
    Fd fd_;
};

}  // namespace viaduct::kvm
