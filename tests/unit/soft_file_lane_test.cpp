/// What a FileLane makes of results that a healthy file gives rarely or never.
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/soft_disk.hpp"
#include "vdpa/soft/image/file_lane.hpp"

namespace viaduct::soft {
namespace {

using test::Bytes;
using test::random_bytes;
using test::TemporaryImage;

class FileLaneResults : public testing::Test {
protected:
    FileLaneResults() {
        ring_.enable();
        file_.write(0, content_);
    }

    std::unique_ptr<Lane> lane() { return image_.open_lane(ring_); }
    Operation transfer(OperationKind kind, std::uint64_t offset, std::uint64_t length) {
        pieces_[0] = {memory_.data(), 4096};
        pieces_[1] = {memory_.data() + 4096, length - 4096};
        Operation operation;
        operation.kind = kind;
        operation.offset = offset;
        operation.length = length;
        operation.segments = pieces_;
        return operation;
    }
    /// What the operation comes to when its next requests are really carried out.
    int run(Lane& lane, Operation& operation) {
        std::optional<int> outcome;
        while (!outcome) {
            ring_.submit(true);
            ring_.for_each_completion([&](const io_uring_cqe& completion) {
                EXPECT_EQ(io_uring_cqe_get_data(&completion), &operation);
                outcome = lane.proceed(operation, completion.res);
            });
        }
        return *outcome;
    }

    /// What was last made ready for the kernel.
    const io_uring_sqe& prepared() {
        io_uring_sqe& next = ring_.next_request();
        io_uring_prep_nop(&next);
        return *std::prev(&next);
    }

    TemporaryImage file_{"/var/tmp", 1 << 20};
    Bytes content_ = random_bytes(1 << 20, 21);
    IoUring ring_{8};
    FileImage image_{{file_.path(), false, DirectIo::on}};
    test::GuestMemory guest_{1 << 20};
    std::span<std::byte> memory_ = guest_.region().bytes;
    std::array<iovec, 2> pieces_{};
};

TEST_F(FileLaneResults, AShortReadIsContinuedWhereItEnded) {
    for (const int got : {1, 512, 4095, 4096, 4097, 12287}) {
        Operation operation = transfer(OperationKind::read, 8192, 12288);
        std::fill(memory_.begin(), memory_.end(), std::byte{0xcc});
        const auto lane = this->lane();
        EXPECT_EQ(lane->proceed(operation, got), std::nullopt);
        EXPECT_EQ(run(*lane, operation), 0);
        EXPECT_TRUE(std::equal(memory_.begin() + got, memory_.begin() + 12288,
                               content_.begin() + 8192 + got))
            << got;
        EXPECT_EQ(memory_[static_cast<std::size_t>(got) - 1], std::byte{0xcc}) << "read again";
    }
}

TEST_F(FileLaneResults, AShortWriteIsContinuedWhereItEnded) {
    const Bytes fresh = random_bytes(12288, 22);
    std::copy(fresh.begin(), fresh.end(), memory_.begin());
    Operation operation = transfer(OperationKind::write, 4096, 12288);
    const auto lane = this->lane();
    EXPECT_EQ(lane->proceed(operation, 5000), std::nullopt);
    EXPECT_EQ(run(*lane, operation), 0);
    EXPECT_EQ(file_.read(4096, 5000), Bytes(content_.begin() + 4096, content_.begin() + 9096));
    EXPECT_EQ(file_.read(9096, 7288), Bytes(fresh.begin() + 5000, fresh.end()));
}

TEST_F(FileLaneResults, AFlushIsTheFileSystems) {
    Operation flush;
    flush.kind = OperationKind::flush;
    const auto lane = this->lane();
    lane->start(flush);
    const io_uring_sqe& request = prepared();
    EXPECT_EQ(request.opcode, IORING_OP_FSYNC);
    EXPECT_EQ(request.fsync_flags, IORING_FSYNC_DATASYNC);
}

TEST_F(FileLaneResults, AWriteIsDurableBeforeItsAnswerWhereItHasToBe) {
    for (const bool durable : {true, false}) {
        Operation write = transfer(OperationKind::write, 0, 8192);
        write.durable = durable;
        const auto lane = this->lane();
        lane->start(write);
        EXPECT_EQ(prepared().rw_flags, durable ? RWF_DSYNC : 0);
    }
}

TEST_F(FileLaneResults, ZeroesAreFlushedBeforeTheirAnswerWhereTheyHaveToBe) {
    Operation zeroes;
    zeroes.kind = OperationKind::write_zeroes;
    zeroes.length = 8192;
    const auto lane = this->lane();
    EXPECT_EQ(lane->proceed(zeroes, 0), 0);
    zeroes.durable = true;
    EXPECT_EQ(lane->proceed(zeroes, 0), std::nullopt);
    EXPECT_EQ(prepared().opcode, IORING_OP_FSYNC);
}

TEST_F(FileLaneResults, AFileThatBecameShorterIsAnIoError) {
    std::filesystem::resize_file(file_.path(), 4096);
    Operation operation = transfer(OperationKind::read, 0, 8192);
    const auto lane = this->lane();
    lane->start(operation);
    EXPECT_EQ(run(*lane, operation), -EIO);
}

TEST_F(FileLaneResults, AnErrorOfTheFileIsTheOperationsOwnAndInTheLog) {
    Operation read = transfer(OperationKind::read, 0, 8192);
    Operation write = transfer(OperationKind::write, 4096, 8192);
    testing::internal::CaptureStderr();
    EXPECT_EQ(lane()->proceed(read, -EIO), -EIO);
    EXPECT_EQ(lane()->proceed(write, -ENOSPC), -ENOSPC);
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                testing::AllOf(testing::HasSubstr("a read at 0 failed in the file system: Input"),
                               testing::HasSubstr("a write at 4096 failed in the file system: No "
                                                  "space left")));
}

TEST_F(FileLaneResults, AnInterruptedRequestIsMadeAgain) {
    Operation operation = transfer(OperationKind::read, 0, 8192);
    const auto lane = this->lane();
    EXPECT_EQ(lane->proceed(operation, -EINTR), std::nullopt);
    EXPECT_EQ(run(*lane, operation), 0);
    EXPECT_TRUE(std::equal(memory_.begin(), memory_.begin() + 8192, content_.begin()));
}

TEST_F(FileLaneResults, WhatDirectIoRefusesGoesThroughThePageCache) {
    Operation operation = transfer(OperationKind::read, 0, 8192);
    const auto lane = this->lane();
    EXPECT_EQ(lane->proceed(operation, -EINVAL), std::nullopt);
    EXPECT_EQ(run(*lane, operation), 0);
    EXPECT_EQ(operation.step, 1);
    EXPECT_EQ(lane->proceed(operation, -EINVAL), -EINVAL) << "and no further";
}

TEST_F(FileLaneResults, OnlyAlignedRequestsGoToTheDirectDescriptor) {
    FileLimits limits;
    FileAccess access = image_.access();
    access.buffered = -1;
    FailureLog failures("disk", "in the file system");
    FileLane direct_only(ring_, access, limits, failures);
    const auto first_result = [&](std::uint64_t offset, std::size_t at, std::uint64_t length) {
        iovec piece{memory_.data() + at, length};
        Operation operation;
        operation.offset = offset;
        operation.length = length;
        operation.segments = {&piece, 1};
        direct_only.start(operation);
        ring_.submit(true);
        int result = 0;
        ring_.for_each_completion([&](const io_uring_cqe& completion) { result = completion.res; });
        return result;
    };
    EXPECT_EQ(first_result(4096, 0, 8192), 8192);
    EXPECT_EQ(first_result(4096, 4096, 4096), 4096);
    EXPECT_EQ(first_result(4096 + 256, 0, 4096), -EBADF);
    EXPECT_EQ(first_result(4096, 3, 4096), -EBADF);
    EXPECT_EQ(first_result(4096, 0, 4096 + 256), -EBADF);
}

class Clearing : public FileLaneResults, public testing::WithParamInterface<bool> {};

INSTANTIATE_TEST_SUITE_P(WithAndWithoutUnmap, Clearing, testing::Bool());

TEST_P(Clearing, ZerosAreWrittenWhereTheFileSystemCannotClear) {
    Operation operation;
    operation.kind = OperationKind::write_zeroes;
    operation.may_unmap = GetParam();
    operation.durable = true;
    operation.offset = 512;
    operation.length = std::uint64_t{300} * 1024;
    const auto lane = this->lane();
    int refusals = 0;
    lane->start(operation);
    std::optional<int> outcome;
    while (!outcome) {
        ring_.submit(true);
        ring_.for_each_completion([&](const io_uring_cqe& completion) {
            int result = completion.res;
            const int refused = GetParam() ? 2 : 1;
            if (refusals < refused) result = -EOPNOTSUPP;
            ++refusals;
            outcome = lane->proceed(operation, result);
        });
    }
    EXPECT_EQ(*outcome, 0);
    EXPECT_EQ(file_.read(0, 512), Bytes(content_.begin(), content_.begin() + 512));
    EXPECT_EQ(file_.read(512, operation.length), Bytes(operation.length));
    // Learnt: the next one does not try again.
    const int before = refusals;
    operation.offset = 0;
    operation.length = 512;
    operation.step = 0;
    operation.durable = false;
    lane->start(operation);
    EXPECT_EQ(run(*lane, operation), 0);
    EXPECT_EQ(refusals, before);
    EXPECT_EQ(file_.read(0, 512), Bytes(512));
}

TEST_F(FileLaneResults, ADiscardThatTheFileSystemCannotDoIsNoError) {
    Operation operation;
    operation.kind = OperationKind::discard;
    operation.length = 4096;
    operation.step = 1;
    EXPECT_EQ(lane()->proceed(operation, -EOPNOTSUPP), 0);
}

}  // namespace
}  // namespace viaduct::soft
