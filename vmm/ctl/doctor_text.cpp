#include "vmm/ctl/doctor_text.hpp"

#include <algorithm>
#include <sstream>

#include <boost/json/object.hpp>
#include <fmt/core.h>

#include "vmm/ctl/table.hpp"

namespace viaduct::ctl {
namespace {

using management::Finding;

std::string verdict_text(Finding::Verdict verdict) {
    switch (verdict) {
        case Finding::Verdict::ok:
            return "ok";
        case Finding::Verdict::missing:
            return "missing";
        case Finding::Verdict::advisable:
            break;
    }
    return "advisable";
}

}  // namespace

std::string findings_text(const std::vector<Finding>& findings) {
    Table table({{"verdict"}, {"check"}, {"found"}});
    for (const Finding& finding : findings) {
        table.add({verdict_text(finding.verdict), finding.subject, finding.found});
    }
    std::istringstream lines(table.text());
    std::string text;
    std::string line;
    std::getline(lines, line);
    text += line + '\n';
    for (const Finding& finding : findings) {
        std::getline(lines, line);
        text += line + '\n';
        if (!finding.remedy.empty()) text += "           → " + printable(finding.remedy) + '\n';
    }
    return text;
}

boost::json::array json_of(const std::vector<Finding>& findings) {
    boost::json::array array;
    for (const Finding& finding : findings) {
        boost::json::object object{{"check", finding.subject},
                                   {"verdict", verdict_text(finding.verdict)},
                                   {"found", finding.found}};
        if (!finding.remedy.empty()) object["remedy"] = finding.remedy;
        array.push_back(std::move(object));
    }
    return array;
}

std::size_t missing(const std::vector<Finding>& findings) {
    return static_cast<std::size_t>(
        std::ranges::count(findings, Finding::Verdict::missing, &Finding::verdict));
}

}  // namespace viaduct::ctl
