/// /dev/vhost-vdpa-N in unit tests: it answers what a recording of a real device says
/// (tests/recordings) and keeps the kernel's rules around that (drivers/vhost/vdpa.c of
/// Linux 6.12). Where the kernel would answer rubbish (the ring base of a device that runs) it
/// refuses.
///
/// The calls are logged by name, with their arguments: "SET_VRING_NUM 0 256", "SET_STATUS 0x3",
/// "IOTLB_UPDATE 0x100000 0x10000". Safe from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mapping.hpp"
#include "tests/support/fake_iotlb.hpp"
#include "tests/support/fake_vdpa_parent.hpp"
#include "vdpa/vhost/node.hpp"

namespace viaduct::test {

class FakeVhostNode {
public:
    /// What the device says of itself; to be changed before open().
    struct Answers {
        std::uint32_t device_id = 0;
        std::uint64_t features = 0;
        std::uint64_t backend_features = 0;
        std::vector<std::byte> config;
        std::uint64_t first_iova = 0;
        std::uint64_t last_iova = 0;
        std::uint16_t vring_num = 0;
        std::vector<std::uint32_t> queue_sizes;  // one a queue; 0: GET_VRING_SIZE is not known
        bool has_doorbells = false;
        bool needs_access_platform = false;
    };
    using Log = std::vector<std::string>;
    using ConfigWrites = std::vector<std::pair<std::uint32_t, std::vector<std::byte>>>;

    /// `recording` as record_vhost_node() writes it.
    explicit FakeVhostNode(const std::string& recording);
    FakeVhostNode(const FakeVhostNode&) = delete;
    FakeVhostNode& operator=(const FakeVhostNode&) = delete;
    ~FakeVhostNode();

    /// open(2): resets the device. Throws SystemError (EBUSY) while somebody has it open.
    std::unique_ptr<vhost::Node> open();

    Answers answers;

    [[nodiscard]] Log log() const;
    /// Of those the ones that begin so.
    [[nodiscard]] Log log_of(const std::string& prefix) const;
    void clear_log();
    /// Something that happened between the calls.
    void note(const std::string& event);

    /// The next call of this name (as logged) fails and does nothing else.
    void fail_next(const std::string& name, int error);
    void refuse_features_ok();

    // The device at work.
    /// Uses all that the driver has made available, then interrupts. The number of requests: 0 for
    /// a ring that is dead or not where the device reaches it.
    unsigned complete(unsigned queue);
    /// Uses the last of them before the others, interrupts, and keeps the others for good.
    void use_last_first(unsigned queue);
    /// Takes so many from the ring, and uses none.
    void take_into_hand(unsigned queue, std::uint16_t count);
    void forget_kicks();
    /// Does so for every queue that is kicked, until stop_serving().
    void serve();
    void stop_serving();
    /// False when there is no call to signal; as the next two.
    bool interrupt(unsigned queue);
    bool change_config(std::uint32_t offset, std::span<const std::byte> bytes);
    /// Can go on no more: NEEDS_RESET.
    bool demand_reset();

    // What became of it.
    [[nodiscard]] bool is_open() const;
    [[nodiscard]] std::uint8_t status() const;
    [[nodiscard]] std::uint64_t accepted_features() const;
    [[nodiscard]] bool suspended() const;
    [[nodiscard]] bool kicked(unsigned queue) const;
    [[nodiscard]] bool reaches(std::uint64_t iova, std::uint64_t length) const;
    /// Resets of a running device with requests not yet used: qemu-storage-daemon aborts at one.
    [[nodiscard]] unsigned resets_in_flight() const;
    [[nodiscard]] ConfigWrites config_writes() const;
    /// The page that a driver finds by map_doorbell().
    [[nodiscard]] std::span<std::byte> doorbell(unsigned queue) const;

private:
    class Handle;
    struct Call;

    static Answers read_answers(const std::string& recording);

    // All with mutex_ held; a result is 0 or an errno.
    static std::span<const Call> calls();
    int answer(unsigned long request, void* argument);
    int handle_message(const vhost_msg_v2& message);
    template <auto value>
    int tell(void* argument);
    template <int (FakeVhostNode::*set)(FakeVdpaParent::Queue&, std::uint32_t)>
    int set_vring(void* argument);
    int set_owner(void* argument);
    int set_backend_features(void* argument);
    int set_features(void* argument);
    int set_status(void* argument);
    int get_config(void* argument);
    int set_config(void* argument);
    int get_vring_size(void* argument);
    int get_vring_base(void* argument);
    int set_vring_addresses(void* argument);
    int set_vring_num(FakeVdpaParent::Queue& queue, std::uint32_t entries);
    int set_vring_base(FakeVdpaParent::Queue& queue, std::uint32_t base);
    int set_vring_enable(FakeVdpaParent::Queue& queue, std::uint32_t enabled);
    int set_vring_kick(FakeVdpaParent::Queue& queue, std::uint32_t fd);
    int set_vring_call(FakeVdpaParent::Queue& queue, std::uint32_t fd);
    int set_config_call(void* argument);
    int suspend(void* argument);
    int resume(void* argument);
    void reset();
    void close();
    [[nodiscard]] bool has_backend_feature(unsigned bit) const;
    [[nodiscard]] bool rings_may_change() const;
    bool take_failure(const std::string& name, int& error);

    mutable std::mutex mutex_;
    Log log_;
    std::map<std::string, int> failures_;
    FakeVdpaParent parent_;
    FakeIotlb iotlb_;
    std::vector<Mapping> doorbells_;
    ConfigWrites config_writes_;
    std::optional<std::vector<std::byte>> config_before_writes_;  // a reset brings it back
    std::uint64_t accepted_features_ = 0;
    std::uint64_t backend_features_ = 0;
    unsigned resets_in_flight_ = 0;
    std::uint8_t status_ = 0;
    bool features_valid_ = false;
    bool refuses_features_ok_ = false;
    bool is_open_ = false;
    bool owned_ = false;
    std::jthread service_;
};

}  // namespace viaduct::test
