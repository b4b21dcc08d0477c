#include "tests/bench/chart.hpp"

#include <algorithm>

#include <fmt/core.h>

namespace viaduct::bench {
namespace {

// Pixels.
constexpr int width = 760;
constexpr int margin = 20;
constexpr int bar_left = 170;
constexpr int bar_room = 440;
constexpr int row_height = 26;
constexpr int line_height = 20;

std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            default:
                out += c;
        }
    }
    return out;
}

class Drawing {
public:
    void heading(const std::string& text) { line(text, "font-weight=\"bold\"", margin); }
    void paragraph(const std::string& text) { line(text, "fill=\"#555\"", margin); }
    void verdict(const Bar& bar) {
        line(bar.text(), bar.kept() ? "fill=\"#17692f\"" : "fill=\"#b3261e\"", margin);
    }
    void space() { y_ += line_height / 2; }

    void row(const Series& series, double full_scale) {
        const auto at = [full_scale](double value) {
            return bar_left + (full_scale > 0 ? value / full_scale * bar_room : 0.0);
        };
        const int middle = y_ + row_height / 2;
        text(margin + 10, middle + 4, "", series.label);
        body_ += fmt::format(R"(<rect x="{}" y="{}" width="{:.1f}" height="{}" fill="#4178be"/>)",
                             bar_left, y_ + 5, std::max(at(series.median()) - bar_left, 1.0),
                             row_height - 10);
        body_ += fmt::format(
            R"(<path d="M{0:.1f} {2}H{1:.1f}M{0:.1f} {3}v8M{1:.1f} {3}v8" stroke="#222"/>)",
            at(series.min()), at(series.p99()), middle, middle - 4);
        text(bar_left + bar_room + 10, middle + 4, "",
             fmt::format("{:.5g} {}", series.median(), series.unit));
        y_ += row_height;
    }

    [[nodiscard]] std::string document() const {
        return fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" )"
                           R"(viewBox="0 0 {0} {1}" font-family="sans-serif" font-size="13">)"
                           R"(<rect width="100%" height="100%" fill="#fff"/>{2}</svg>)",
                           width, y_ + margin, body_);
    }

private:
    void line(const std::string& words, const std::string& style, int x) {
        y_ += line_height;
        text(x, y_ - 4, style, words);
    }
    void text(int x, int y, const std::string& style, const std::string& words) {
        body_ += fmt::format(R"(<text x="{}" y="{}" {}>{}</text>)", x, y, style, escaped(words));
    }

    int y_ = margin / 2;
    std::string body_;
};

double greatest_of(const std::vector<Series>& series, const std::string& group) {
    double greatest = 0;
    for (const Series& one : series) {
        if (one.group == group) greatest = std::max(greatest, one.p99());
    }
    return greatest;
}

}  // namespace

std::string draw(const Report& report) {
    Drawing drawing;
    drawing.heading(report.title);
    for (const std::string& note : report.notes) drawing.paragraph(note);
    std::string group;
    for (const Series& series : report.series) {
        if (series.group != group) {
            group = series.group;
            drawing.space();
            drawing.heading(group + ", " + series.unit);
        }
        drawing.row(series, greatest_of(report.series, group));
    }
    drawing.space();
    for (const Bar& bar : report.bars) drawing.verdict(bar);
    return drawing.document();
}

}  // namespace viaduct::bench
