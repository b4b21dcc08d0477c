/// What a second QMP client does while the first is at work.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "tests/qmp_client.hpp"

namespace viaduct::test {

/// Another client that does something over and over while this lives.
class Meanwhile {
public:
    Meanwhile(std::unique_ptr<tests::QmpClient> client, std::function<void(tests::QmpClient&)> deed)
        : client_(std::move(client)), thread_([this, deed = std::move(deed)] {
              try {
                  for (; !ends_; ++times_) deed(*client_);
              } catch (const Error& failure) {
                  failure_ = failure.what();
              }
          }) {}
    Meanwhile(const Meanwhile&) = delete;
    Meanwhile& operator=(const Meanwhile&) = delete;
    ~Meanwhile() {
        if (thread_.joinable()) end();
    }

    /// How often it was done; its failure is the test's.
    unsigned end() {
        ends_ = true;
        thread_.join();
        EXPECT_EQ(failure_, "");
        return times_;
    }

private:
    std::unique_ptr<tests::QmpClient> client_;
    std::atomic<bool> ends_ = false;
    std::atomic<unsigned> times_ = 0;
    std::string failure_;
    std::thread thread_;
};

}  // namespace viaduct::test
