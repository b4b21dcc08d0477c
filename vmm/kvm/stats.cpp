#include "vmm/kvm/stats.hpp"

#include <cstring>

#include "vmm/kvm/ioctl.hpp"
#include "vmm/kvm/uapi.hpp"

namespace viaduct::kvm {
namespace {

void read_at(int fd, void* into, std::size_t bytes, std::uint64_t offset) {
    if (::pread(fd, into, bytes, static_cast<off_t>(offset)) != static_cast<ssize_t>(bytes)) {
        throw SystemError("cannot read KVM's statistics");
    }
}

struct Descriptor {
    std::string name;
    std::uint32_t offset;  // bytes, from the data block's start
    std::uint16_t count;
};

std::vector<Descriptor> read_descriptors(int fd, const kvm_stats_header& header) {
    // Each is the fixed part followed by its name, name_size bytes with the final zero.
    const std::size_t stride = sizeof(kvm_stats_desc) + header.name_size;
    std::vector<std::byte> block(stride * header.num_desc);
    read_at(fd, block.data(), block.size(), header.desc_offset);
    std::vector<Descriptor> descriptors;
    for (std::size_t i = 0; i < header.num_desc; ++i) {
        const std::byte* at = block.data() + i * stride;
        kvm_stats_desc descriptor{};
        std::memcpy(&descriptor, at, sizeof descriptor);
        const auto* name = reinterpret_cast<const char*>(at + sizeof descriptor);
        descriptors.push_back({std::string(name, ::strnlen(name, header.name_size)),
                               descriptor.offset, descriptor.size});
    }
    return descriptors;
}

}  // namespace

Stats::Stats(int vm_or_vcpu) : fd_(VIADUCT_KVM_IOCTL(vm_or_vcpu, KVM_GET_STATS_FD, 0)) {}

std::vector<Statistic> Stats::read() const {
    kvm_stats_header header{};
    read_at(fd_.get(), &header, sizeof header, 0);
    std::vector<Statistic> statistics;
    for (const Descriptor& descriptor : read_descriptors(fd_.get(), header)) {
        Statistic statistic{descriptor.name, std::vector<std::uint64_t>(descriptor.count)};
        read_at(fd_.get(), statistic.values.data(), descriptor.count * sizeof(std::uint64_t),
                header.data_offset + descriptor.offset);
        statistics.push_back(std::move(statistic));
    }
    return statistics;
}

}  // namespace viaduct::kvm
