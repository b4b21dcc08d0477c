#include "vdpa/export/lent_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <string_view>

#include "base/error.hpp"

namespace viaduct::vduse {

/// Written by whoever lends, under a mutex; read by the signal's handler, which may not wait for
/// one.
struct LentMemory::Slot {
    std::atomic<std::uintptr_t> begin{0};  // valid while there is an end
    std::atomic<std::uintptr_t> end{0};    // 0: free
};

namespace {

/// As many as two maps of the pieces that DriverMemory allows, since one follows the other.
constexpr std::size_t most_lent = 8192;
/// What memory may come in pages of: ordinary ones, and hugetlbfs's, of which none can be replaced
/// in part.
constexpr std::array<std::uintptr_t, 3> page_sizes{std::uintptr_t{1} << 12, std::uintptr_t{1} << 21,
                                                   std::uintptr_t{1} << 30};

std::array<LentMemory::Slot, most_lent> slots;
std::mutex slots_mutex;
std::atomic_flag told;

struct Range {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;  // 0: there is none
};

Range lent_around(std::uintptr_t address) noexcept {
    for (const LentMemory::Slot& slot : slots) {
        // acquire: the beginning is the one that belongs to this end.
        const std::uintptr_t end = slot.end.load(std::memory_order_acquire);
        const std::uintptr_t begin = slot.begin.load(std::memory_order_relaxed);
        if (address >= begin && address < end) return {begin, end};
    }
    return {};
}

bool put_zeros_at(std::uintptr_t address, const Range& range) noexcept {
    return std::ranges::any_of(page_sizes, [&](std::uintptr_t size) {
        const std::uintptr_t page = address & ~(size - 1);
        if (page < range.begin || range.end - page < size) return false;
        // NOLINTNEXTLINE(performance-no-int-to-ptr): a page is found by arithmetic.
        return ::mmap(reinterpret_cast<void*>(page), size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
    });
}

/// Calls nothing but system calls: it may come at any moment.
void on_bus_error(int /*signal*/, siginfo_t* cause, void* /*context*/) noexcept {
    const int error = errno;
    const auto address = reinterpret_cast<std::uintptr_t>(cause->si_addr);
    const Range range = lent_around(address);
    if (cause->si_code != BUS_ADRERR || range.end == 0 || !put_zeros_at(address, range)) {
        // Not ours, or sent by somebody: it ends the process as soon as this returns.
        (void)::signal(SIGBUS, SIG_DFL);
        (void)::raise(SIGBUS);
        return;
    }
    if (!told.test_and_set()) {
        constexpr std::string_view line =
            "viaduct: warning: a driver has taken memory away that its device uses: it reads as "
            "zeros\n";
        (void)!::write(STDERR_FILENO, line.data(), line.size());
    }
    errno = error;
}

void catch_bus_errors() {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    if (::sigaction(SIGBUS, &action, nullptr) != 0) throw SystemError("sigaction of SIGBUS");
}

}  // namespace

LentMemory::LentMemory(std::span<std::byte> bytes) {
    static std::once_flag caught;
    std::call_once(caught, catch_bus_errors);
    const std::lock_guard lock(slots_mutex);
    auto* const free = std::ranges::find_if(
        slots, [](const Slot& slot) { return slot.end.load(std::memory_order_relaxed) == 0; });
    if (free == slots.end()) {
        throw Error("a driver's memory is in more than {} pieces: that is more than is served",
                    most_lent);
    }
    const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
    free->begin.store(begin, std::memory_order_relaxed);
    // release: who sees the end sees the beginning.
    free->end.store(begin + bytes.size(), std::memory_order_release);
    slot_ = &*free;
}

LentMemory::~LentMemory() {
    if (slot_ == nullptr) return;
    const std::lock_guard lock(slots_mutex);
    slot_->end.store(0, std::memory_order_release);
}

}  // namespace viaduct::vduse
