// The fuzzers' corpus: each file is an attack with a name, and a test with the same name.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fuzz/targets.hpp"

namespace viaduct::fuzz {
namespace {

using Path = std::filesystem::path;

std::vector<Path> corpus_of(const char* target) {
    std::vector<Path> files;
    const Path folder = Path(VIADUCT_SOURCE_DIR) / "tests/fuzz/corpus" / target;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        files.push_back(entry.path());
    }
    std::ranges::sort(files);
    return files;
}

/// "descriptor-loop" as googletest wants it: DescriptorLoop.
std::string test_name(const testing::TestParamInfo<Path>& file) {
    std::string name;
    bool first = true;
    for (const char c : file.param.filename().string()) {
        const bool letter = std::isalnum(static_cast<unsigned char>(c)) != 0;
        if (letter) name += first ? static_cast<char>(std::toupper(c)) : c;
        first = !letter;
    }
    return name;
}

std::string content_of(const Path& file) {
    std::ifstream stream(file, std::ios::binary);
    EXPECT_TRUE(stream) << file;
    return {std::istreambuf_iterator<char>(stream), {}};
}

class RelayCorpus : public testing::TestWithParam<Path> {};
class QmpCorpus : public testing::TestWithParam<Path> {};

INSTANTIATE_TEST_SUITE_P(Fuzz, RelayCorpus, testing::ValuesIn(corpus_of("relay")), test_name);
INSTANTIATE_TEST_SUITE_P(Fuzz, QmpCorpus, testing::ValuesIn(corpus_of("qmp")), test_name);

TEST_P(RelayCorpus, HasADefinedResult) {
    EXPECT_NO_THROW(relay(content_of(GetParam())));
}

TEST_P(QmpCorpus, HasADefinedResult) {
    EXPECT_NO_THROW(qmp(content_of(GetParam())));
}

}  // namespace
}  // namespace viaduct::fuzz
