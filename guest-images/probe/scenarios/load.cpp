// Many requests: a loop to stop and continue, a rate to measure, all CPUs at once.
#include "guest-images/probe/block.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/lapic.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/scenarios/pattern.hpp"
#include "guest-images/probe/smp.hpp"

namespace probe {
namespace {

using block::Completion;
using block::Device;
using block::Status;

Completion chosen_completion() {
    const Text mode = option("mode", "msix");
    if (mode == Text{"msix"}) return Completion::msix;
    CHECK(mode == Text{"polling"}, "mode=", mode, " is neither msix nor polling");
    return Completion::polling;
}

void run_io_loop() {
    Device device{virtio::choose_function()};
    device.start({.completion = chosen_completion()});
    const uint64_t count = option_number("count", 0);
    const uint64_t tick = option_number("tick", 1000);
    const bool is_writing = option_switch("write");
    const uint64_t places = device.capacity() / 8;
    auto* buffer = static_cast<uint8_t*>(allocate(4096));
    for (uint64_t i = 0; count == 0 || i < count; ++i) {
        const uint64_t sector = i % places * 8;
        if (is_writing) {
            pattern::fill(buffer, sector, 4096, 7);
            CHECK_EQUAL(device.queue().write(sector, buffer, 4096), Status::ok);
        }
        CHECK_EQUAL(device.queue().read(sector, buffer, 4096), Status::ok);
        if (is_writing) pattern::check(buffer, sector, 4096, 7);
        if ((i + 1) % tick == 0) print("tick ", (i + 1) / tick, "\n");
    }
}

void run_io_rate() {
    Device device{virtio::choose_function()};
    device.start({.completion = chosen_completion()});
    const uint64_t count = option_number("count", 1000);
    CHECK(count > 0);
    const uint64_t places = device.capacity() / 8;
    void* buffer = allocate(4096);
    CHECK_EQUAL(device.queue().read(0, buffer, 4096), Status::ok);
    print("first read done\n");
    const Stopwatch watch;
    for (uint64_t i = 0; i < count; ++i) {
        CHECK_EQUAL(device.queue().read(i % places * 8, buffer, 4096), Status::ok);
    }
    const uint64_t microseconds = watch.elapsed().count;
    print("io-rate reads=", count, " us=", microseconds, " us-per-read=", microseconds / count,
          "\n");
}

struct Job {
    block::Queue* queue;
    uint64_t sector;
    uint64_t rounds;
    uint32_t seed;
    void* written;
    void* read;
};

void run_job(void* context) {
    const Job& job = *static_cast<Job*>(context);
    for (uint32_t round = 0; round < job.rounds; ++round) {
        const uint32_t bytes = 4096U << round % 3;
        const uint32_t seed = job.seed + round;
        pattern::fill(job.written, job.sector, bytes, seed);
        CHECK_EQUAL(job.queue->write(job.sector, job.written, bytes), Status::ok);
        CHECK_EQUAL(job.queue->read(job.sector, job.read, bytes), Status::ok);
        pattern::check(job.read, job.sector, bytes, seed);
    }
}

void run_smp_io() {
    const size_t cpus = smp::start_all();
    CHECK_EQUAL(uint64_t{cpus}, option_number("cpus", cpus));
    Device device{virtio::choose_function()};
    const auto offered = device.transport.read(virtio::common::num_queues);
    const auto queues =
        static_cast<uint16_t>(option_number("queues", offered < cpus ? offered : cpus));
    device.start({.wanted_features = block::feature::multi_queue,
                  .queue_count = queues,
                  .completion = Completion::msix});
    const size_t jobs = queues < cpus ? queues : cpus;
    Job list[Device::most_queues];
    for (size_t i = 0; i < jobs; ++i) {
        const auto index = static_cast<uint16_t>(i);
        device.msix().mask(index);
        device.msix().route(index, smp::apic_id(i), device.vector(index));
        device.msix().unmask(index);
        list[i] = {&device.queue(index),
                   i * 64,
                   option_number("rounds", 12),
                   static_cast<uint32_t>(i * 1000),
                   allocate(16384),
                   allocate(16384)};
    }
    for (size_t i = 1; i < jobs; ++i) smp::run(i, run_job, &list[i]);
    run_job(&list[0]);
    smp::wait_all(cpus, 60);
    // Each area holds what its CPU wrote last, and nobody else's.
    for (size_t i = 0; i < jobs; ++i) {
        const auto last = static_cast<uint32_t>(list[i].rounds - 1);
        CHECK_EQUAL(device.queue().read(list[i].sector, list[i].read, 4096U << last % 3),
                    Status::ok);
        pattern::check(list[i].read, list[i].sector, 4096U << last % 3, list[i].seed + last);
    }
    print(jobs, " CPUs with a queue each\n");
}

constexpr Scenario scenarios[] = {
    {"io-loop", run_io_loop},
    {"io-rate", run_io_rate},
    {"smp-io", run_smp_io},
};

}  // namespace

constexpr ScenarioList load_scenarios{scenarios};

}  // namespace probe
