// Generic netlink: what goes to the kernel, and what is made of its answers, recorded from a real
// one and made up.
#include <linux/genetlink.h>
#include <linux/netlink.h>

#include <cstring>

#include <gmock/gmock.h>

#include "tests/support/netlink_recording.hpp"
#include "tests/support/vdpa_family_tour.hpp"
#include "tests/support/vhost_recording.hpp"
#include "vdpa/management/generic_netlink.hpp"

namespace viaduct::management {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::ThrowsMessage;
using Bytes = std::vector<std::byte>;

void append(Bytes& bytes, const auto& value) {
    const auto more = std::as_bytes(std::span(&value, 1));
    bytes.insert(bytes.end(), more.begin(), more.end());
}

Bytes attribute(std::uint16_t type, std::string_view value) {
    Bytes bytes;
    append(bytes, nlattr{.nla_len = static_cast<std::uint16_t>(NLA_HDRLEN + value.size()),
                         .nla_type = type});
    const auto more = std::as_bytes(std::span(value));
    bytes.insert(bytes.end(), more.begin(), more.end());
    bytes.resize(NLA_ALIGN(bytes.size()));
    return bytes;
}

Bytes message(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence,
              const Bytes& payload) {
    Bytes bytes;
    append(bytes,
           nlmsghdr{.nlmsg_len = static_cast<std::uint32_t>(sizeof(nlmsghdr) + payload.size()),
                    .nlmsg_type = type,
                    .nlmsg_flags = flags,
                    .nlmsg_seq = sequence,
                    .nlmsg_pid = 0});
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    bytes.resize(NLMSG_ALIGN(bytes.size()));
    return bytes;
}

/// A refusal with the kernel's text, behind a copy of the request or of its header alone.
Bytes refusal(std::uint32_t sequence, int error, std::string_view text, bool capped) {
    Bytes payload;
    append(payload, -error);
    const std::uint32_t request_payload = 8;
    append(payload, nlmsghdr{.nlmsg_len = sizeof(nlmsghdr) + request_payload,
                             .nlmsg_type = 30,
                             .nlmsg_flags = 0,
                             .nlmsg_seq = sequence,
                             .nlmsg_pid = 0});
    if (!capped) payload.resize(payload.size() + request_payload);
    const Bytes attributes = attribute(NLMSGERR_ATTR_MSG, text);
    payload.insert(payload.end(), attributes.begin(), attributes.end());
    const auto flags = static_cast<std::uint16_t>(NLM_F_ACK_TLVS | (capped ? NLM_F_CAPPED : 0));
    return message(NLMSG_ERROR, flags, sequence, payload);
}

Bytes reply(std::uint32_t sequence, const Bytes& attributes) {
    Bytes payload;
    append(payload, genlmsghdr{.cmd = 1, .version = 1, .reserved = 0});
    payload.insert(payload.end(), attributes.begin(), attributes.end());
    return message(30, 0, sequence, payload);
}

Bytes acknowledgement(std::uint32_t sequence) {
    Bytes payload;
    append(payload, 0);
    append(payload, nlmsghdr{});
    return message(NLMSG_ERROR, NLM_F_CAPPED, sequence, payload);
}

/// Says what it was told to, whatever it is asked.
class ScriptedSocket final : public NetlinkSocket {
public:
    explicit ScriptedSocket(std::vector<Bytes> answers) : answers_(std::move(answers)) {
        // The family's number is asked for first: 30.
        answers_.insert(answers_.begin(), {reply(1, attribute(CTRL_ATTR_FAMILY_ID, {"\x1e\0", 2})),
                                           acknowledgement(1)});
    }
    void send(std::span<const std::byte> /*datagram*/) override {}
    Bytes receive() override { return answers_.at(at_++); }

private:
    std::vector<Bytes> answers_;
    std::size_t at_ = 0;
};

/// Asks one thing, and is given these answers.
std::vector<NetlinkAttributes> ask(std::vector<Bytes> answers) {
    GenericNetlink netlink(std::make_unique<ScriptedSocket>(std::move(answers)), "vdpa");
    return netlink.ask("asking", 3, {}, GenericNetlink::Kind::all);
}

Bytes joined(const Bytes& first, const Bytes& second) {
    Bytes both = first;
    both.insert(both.end(), second.begin(), second.end());
    return both;
}

TEST(VdpaFamily, SaysAndUnderstandsWhatWasRecordedFromTheKernel) {
    test::expect_tour_of_simulators(test::tour_vdpa_family(
        test::replayed_netlink_socket(test::load_recording("management/netlink_vdpa"))));
}

TEST(NetlinkAttributes, NumbersAreOfWhateverSizeTheKernelSends) {
    NetlinkAttributes attributes;
    attributes.put_u16(1, 0xabcd);
    attributes.put_u64(2, 0x123456789abcdef0);
    attributes.put_string(3, "vdpa0");
    EXPECT_EQ(attributes.number(1), 0xabcdU);
    EXPECT_EQ(attributes.number(2), 0x123456789abcdef0U);
    EXPECT_EQ(attributes.string(3), "vdpa0");
    EXPECT_THAT(attributes.bytes(3), SizeIs(6)) << "with its NUL";
    EXPECT_EQ(attributes.number(3), std::nullopt) << "six bytes are no number";
    EXPECT_EQ(attributes.number(9), std::nullopt);
    EXPECT_EQ(attributes.string(9), "");
}

TEST(NetlinkAttributes, OneThatReachesPastTheEndIsRefused) {
    Bytes bytes = attribute(5, "four");
    EXPECT_EQ(NetlinkAttributes(bytes).string(5), "four");
    bytes.pop_back();
    EXPECT_THAT([&] { (void)NetlinkAttributes(bytes); },
                ThrowsMessage<Error>(HasSubstr("ends within an attribute (type 5")));
    bytes = attribute(5, "");
    bytes[0] = std::byte{3};
    EXPECT_THROW((void)NetlinkAttributes(bytes), Error) << "shorter than its own header";
}

TEST(GenericNetlink, RepliesOfSeveralDatagramsAreOneAnswer) {
    Bytes done;
    append(done, 0);
    const auto replies =
        ask({joined(reply(2, attribute(5, "one")), reply(2, attribute(5, "two"))),
             joined(reply(2, attribute(5, "three")), message(NLMSG_DONE, 0, 2, done))});
    ASSERT_THAT(replies, SizeIs(3));
    EXPECT_EQ(replies[2].string(5), "three");
}

TEST(GenericNetlink, AnswersToAnEarlierRequestAreLeftAlone) {
    const auto replies = ask({reply(1, attribute(5, "late")), acknowledgement(2)});
    EXPECT_THAT(replies, IsEmpty());
}

TEST(GenericNetlink, ARefusalIsInTheKernelsWords) {
    for (const bool capped : {false, true}) {
        try {
            (void)ask({refusal(2, ENODEV, "vdpa: device not found", capped)});
            FAIL() << "no refusal";
        } catch (const NetlinkRefusal& refused) {
            EXPECT_EQ(refused.code(), ENODEV);
            EXPECT_EQ(refused.kernel_text(), "device not found");
            EXPECT_STREQ(refused.what(), "asking: device not found: No such device");
        }
    }
}

TEST(GenericNetlink, ADumpThatFailsInTheMiddleIsARefusal) {
    Bytes failed;
    append(failed, -EMSGSIZE);
    EXPECT_THROW((void)ask({reply(2, {}), message(NLMSG_DONE, 0, 2, failed)}), NetlinkRefusal);
}

TEST(GenericNetlink, AnAnswerThatIsCutShortIsRefused) {
    Bytes cut = reply(2, attribute(5, "one"));
    cut.resize(cut.size() - 4);
    EXPECT_THAT([&] { (void)ask({cut}); },
                ThrowsMessage<Error>(HasSubstr("ends within a message")));
    EXPECT_THAT([&] { (void)ask({message(30, 0, 2, {})}); },
                ThrowsMessage<Error>(HasSubstr("cut short")));
    EXPECT_THAT([&] { (void)ask({Bytes(3)}); },
                ThrowsMessage<Error>(HasSubstr("ends within a message")));
}

TEST(VdpaFamily, AKernelWithoutVdpaIsToldWhatToDo) {
    class Without final : public NetlinkSocket {
    public:
        void send(std::span<const std::byte> /*datagram*/) override {}
        Bytes receive() override { return refusal(1, ENOENT, "", true); }
    };
    EXPECT_THAT([] { (void)VdpaFamily(std::make_unique<Without>()); },
                ThrowsMessage<Error>(
                    testing::AllOf(HasSubstr("no vDPA here"), HasSubstr("modprobe vdpa"))));
}

}  // namespace
}  // namespace viaduct::management
