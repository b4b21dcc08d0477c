#include "tests/lab/silence.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <string_view>
#include <thread>
#include <utility>

#include "base/error.hpp"

namespace viaduct::test {
namespace {

constexpr off_t block = 512;
using Block = std::array<char, block>;

}  // namespace

Silence::Silence(LinuxGuest& guest, std::string device, const std::string& image)
    : guest_(guest),
      device_(std::move(device)),
      image_(::open(image.c_str(), O_RDWR | O_CLOEXEC)),
      offset_(static_cast<off_t>(std::filesystem::file_size(image)) - block) {
    if (!image_) throw SystemError("cannot open " + image);
}

Answer Silence::run(const std::string& command, const std::function<void()>& before,
                    const std::function<void()>& after) {
    say("nothing");
    guest_.begin("in_silence " + device_ + " " + std::to_string(offset_ / block) + " " + command);
    wait_for_word("ready");
    before();
    say("go");
    wait_for_word("done");
    after();
    say("over");
    return guest_.finish();
}

void Silence::wait_for_word(const std::string& word) {
    const std::string line = word + "\n";
    const auto deadline = std::chrono::steady_clock::now() + LinuxGuest::patience;
    while (std::chrono::steady_clock::now() < deadline) {
        Block bytes{};
        if (::pread(image_.get(), bytes.data(), bytes.size(), offset_) != block) {
            throw SystemError("reading the guest's word");
        }
        if (std::string_view(bytes.data(), bytes.size()).starts_with(line)) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    throw Error("the guest did not write '{}' to its disk", word);
}

void Silence::say(const std::string& word) {
    Block bytes{};
    std::ranges::copy(word + "\n", bytes.begin());
    if (::pwrite(image_.get(), bytes.data(), bytes.size(), offset_) != block) {
        throw SystemError("writing a word for the guest");
    }
}

}  // namespace viaduct::test
