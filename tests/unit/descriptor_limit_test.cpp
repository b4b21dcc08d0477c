// The most descriptors that the process may have, and what it is told when it has them.
#include "base/descriptor_limit.hpp"

#include <sys/resource.h>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/event_fd.hpp"

namespace viaduct {
namespace {

/// The soft limit, put back when this goes.
class SoftDescriptorLimit {
public:
    explicit SoftDescriptorLimit(rlim_t count) {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        const rlimit limit{count, before_.rlim_max};
        EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    SoftDescriptorLimit(const SoftDescriptorLimit&) = delete;
    SoftDescriptorLimit& operator=(const SoftDescriptorLimit&) = delete;
    ~SoftDescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

TEST(DescriptorLimit, IsRaisedAsFarAsTheUserMay) {
    const SoftDescriptorLimit low(64);
    raise_descriptor_limit();
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT_EQ(limit.rlim_cur, limit.rlim_max);
}

TEST(DescriptorLimit, IsNamedToWhoWantsAnEventFdBeyondIt) {
    const SoftDescriptorLimit none(0);
    EXPECT_THAT([] { const EventFd event; },
                testing::ThrowsMessage<SystemError>(testing::HasSubstr("ulimit -n")));
}

}  // namespace
}  // namespace viaduct
