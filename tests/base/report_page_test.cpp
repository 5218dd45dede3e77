#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "core/base/error.h"
#include "core/report/html_page.h"
#include "core/report/number_text.h"
#include "core/report/run_files.h"
#include "core/report/svg_chart.h"
#include "core/report/training_curves.h"
#include "tests/support/temporary_folder.h"

namespace strandwave::report {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

size_t count(const std::string& text, const std::string& word) {
  size_t found = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

std::string message_of(const std::vector<std::string>& paths) {
  try {
    read_runs(paths);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Escape, MarkupBytesAndControls) {
  EXPECT_EQ("a &lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;", escape("a <b> & \"c\" 'd'"));
  EXPECT_EQ("\xC3\xA9 \xE2\x82\xAC \xF0\x9F\xA7\xAC",
            escape("\xC3\xA9 \xE2\x82\xAC \xF0\x9F\xA7\xAC"));
  const std::string replacement = "\xEF\xBF\xBD";
  EXPECT_EQ("a" + replacement + "b", escape("a\xFF"
                                            "b"));
  EXPECT_EQ(replacement + replacement, escape("\xC0\x80"));                    // overlong
  EXPECT_EQ(replacement + replacement + replacement, escape("\xED\xA0\x80"));  // surrogate
  EXPECT_EQ(replacement, escape("\xE2"));                                      // cut off
  EXPECT_EQ(replacement + "\n\t", escape(std::string("\0\n\t", 3)));
}

TEST(Escape, ShortenedCountsCharacters) {
  EXPECT_EQ("abcde", shortened("abcde", 5));
  EXPECT_EQ("abcd\xE2\x80\xA6", shortened("abcdef", 5));
  EXPECT_EQ("\xC3\xA9\xC3\xA9", shortened("\xC3\xA9\xC3\xA9", 2));
  EXPECT_EQ("\xC3\xA9\xE2\x80\xA6", shortened("\xC3\xA9\xC3\xA9\xC3\xA9", 2));
}

TEST(Numbers, Texts) {
  EXPECT_EQ("1.7412", fixed(1.74118, 4));
  EXPECT_EQ("-", fixed(kNaN, 4));
  EXPECT_EQ("-", percent(kInfinity));
  EXPECT_EQ("84.2 %", percent(0.8421));
  EXPECT_EQ("+0.012", with_sign(0.0121, 3));
  EXPECT_EQ("7,372,800", grouped(int64_t{7372800}));
  EXPECT_EQ("-1,000", grouped(int64_t{-1000}));
  EXPECT_EQ("-100", grouped(int64_t{-100}));
  EXPECT_EQ("1.2e-5", compact(1.2e-5));
  EXPECT_EQ("41,200", compact(41200.3));
  EXPECT_EQ("1e25", compact(1e25));
  EXPECT_EQ("1e300", grouped(1e300));
  EXPECT_EQ("-", grouped(kNaN));
}

TEST(Ticks, AreRoundAndInside) {
  const auto texts = [](const std::vector<Tick>& ticks) {
    std::string all;
    for (const Tick& tick : ticks) all += tick.text + "|";
    return all;
  };
  EXPECT_EQ("1.6|1.7|1.8|1.9|", texts(linear_ticks(1.58, 1.94, 5)));
  EXPECT_EQ("0|5 M|10 M|15 M|", texts(linear_ticks(0, 16.4e6, 5)));
  EXPECT_EQ("-0.2|-0.1|0|", texts(linear_ticks(-0.21, 0.04, 4)));
  EXPECT_EQ("0|2e-5|4e-5|", texts(linear_ticks(0, 4.1e-5, 4)));
  EXPECT_EQ("0.1|0.2|0.5|1|", texts(log_ticks(0.08, 1.9, 6)));
  EXPECT_EQ("1e-6|0.001|1|1000|", texts(log_ticks(1e-6, 2e3, 4)));
  EXPECT_TRUE(linear_ticks(1, 1, 5).empty());
  EXPECT_TRUE(linear_ticks(0, kInfinity, 5).empty());
  EXPECT_TRUE(log_ticks(0, 1, 5).empty());
}

TEST(Thinning, KeepsExtremesAndGaps) {
  std::vector<Point> points;
  for (int i = 0; i < 100000; ++i) points.push_back({double(i), std::sin(i * 0.001)});
  points[54321].y = 99;
  points[12345].y = -99;
  points[77777].y = kNaN;
  const std::vector<Point> kept = thinned(points, 100);
  EXPECT_LT(kept.size(), 420U);
  EXPECT_EQ(0, kept.front().x);
  EXPECT_EQ(99999, kept.back().x);
  const auto has = [&](double x) {
    return std::any_of(kept.begin(), kept.end(), [&](const Point& p) { return p.x == x; });
  };
  EXPECT_TRUE(has(54321));
  EXPECT_TRUE(has(12345));
  EXPECT_TRUE(has(77777));
  for (size_t i = 1; i < kept.size(); ++i) EXPECT_LT(kept[i - 1].x, kept[i].x);
  EXPECT_EQ(3U, thinned({{1, 1}, {2, 2}, {3, 3}}, 100).size());
}

TEST(LineCharts, NamesLinesAndBreaksThemAtGaps) {
  LineChart chart;
  chart.title = "A & B";
  chart.series = {{"first <run>", {{0, 1}, {1, 2}, {2, kNaN}, {3, 4}, {4, 5}}, 0}};
  const std::string drawn = svg(chart).html;
  EXPECT_EQ(1U, count(drawn, "class=\"path k0\""));
  const size_t at = drawn.find("<path d=\"");
  const std::string path = drawn.substr(at, drawn.find("\" class", at) - at);
  EXPECT_EQ(2U, count(path, "M"));
  EXPECT_EQ(2U, count(path, "L"));
  EXPECT_NE(std::string::npos, drawn.find(">first &lt;run&gt;</text>"));
  EXPECT_NE(std::string::npos, drawn.find("<title>A &amp; B</title>"));
}

TEST(LineCharts, SurviveAnyNumbers) {
  for (const std::vector<Point>& points :
       std::vector<std::vector<Point>>{{},
                                       {{0, 0}},
                                       {{kNaN, kNaN}},
                                       {{0, 1e308}, {1, -1e308}},
                                       {{0, 5e-324}, {1, kInfinity}},
                                       {{-1, -1}, {-1, -1}}})
    for (const bool log : {false, true}) {
      LineChart chart;
      chart.x.log = chart.y.log = log;
      chart.series = {{"x", points, 0}};
      chart.levels = {{kNaN, "nowhere"}};
      chart.marks = {{kInfinity, "nowhere"}};
      const std::string drawn = svg(chart).html;
      EXPECT_EQ(std::string::npos, drawn.find("nan")) << drawn;
      EXPECT_EQ(std::string::npos, drawn.find("inf")) << drawn;
    }
}

TEST(DotCharts, ShowIntervals) {
  DotChart chart;
  chart.rows = {{"model", "1.74", 1.74, 1.7, 1.8, 2}, {"other", "-", kNaN, kNaN, kNaN}};
  const std::string drawn = svg(chart).html;
  EXPECT_EQ(1U, count(drawn, "<circle"));
  EXPECT_EQ(1U, count(drawn, "class=\"span k2\""));
}

TEST(ConfusionCharts, ShadeRows) {
  ConfusionChart chart;
  chart.labels = {"a", "b"};
  chart.counts = {{30, 10}, {0, 0}};
  const std::string drawn = svg(chart).html;
  EXPECT_NE(std::string::npos, drawn.find("a taken for b: 10 (25.0 %)"));
  EXPECT_NE(std::string::npos, drawn.find("fill-opacity=\"0.75\""));
  chart.counts = {{1, 2, 3}, {4}, {5, 6}};  // not square
  EXPECT_EQ(3U, count(svg(chart).html, "class=\"cell\""));
}

TEST(Tables, NumbersAreSetFlushRight) {
  Table content;
  content.header = {"name", "value", "text"};
  content.rows = {{"a", "1.5", "x"}, {"b", "-", "2"}};
  const std::string html = table(content).html;
  EXPECT_NE(std::string::npos, html.find("<td class=\"number\">1.5</td>"));
  EXPECT_NE(std::string::npos, html.find("<th scope=\"row\" class=\"short\">a</th>"));
  EXPECT_EQ(std::string::npos, html.find("<td class=\"number\">2</td>"));
}

TEST(Pages, HoldNoScriptAndEscapeTitles) {
  HtmlPage page("<b>title</b>", "lead");
  page.section("Empty", {});
  page.section("One & two", {paragraph("<i>text</i>")});
  const std::string html = page.html();
  EXPECT_EQ(std::string::npos, html.find("<script"));
  EXPECT_EQ(std::string::npos, html.find("Empty"));
  EXPECT_NE(std::string::npos, html.find("&lt;i&gt;text&lt;/i&gt;"));
  EXPECT_NE(std::string::npos, html.find("href=\"#one-two\""));
  EXPECT_NE(std::string::npos, html.find("default-src 'none'"));
}

class Runs : public ::testing::Test {
 protected:
  std::string folder(const std::string& name) const {
    std::filesystem::create_directories(folder_.path() / name);
    return (folder_.path() / name).string();
  }
  testing::TemporaryFolder folder_;
};

TEST_F(Runs, AreNamedApart) {
  for (const char* name : {"a/run", "b/run", "other"}) {
    folder(name);
    folder_.write(std::string(name) + "/config.json", "{}");
    folder_.write(std::string(name) + "/log.jsonl", "");
  }
  const std::vector<RunFiles> runs =
      read_runs({folder("a/run") + "/", folder("b/run"), folder("other")});
  EXPECT_EQ("a/run", runs[0].name);
  EXPECT_EQ("b/run", runs[1].name);
  EXPECT_EQ("run", read_runs({folder("a/run/")})[0].name);
  const std::string file = folder_.write("a/run.json", R"({"kind": "classifier"})");
  EXPECT_EQ("run", read_runs({file})[0].name);
  const std::vector<RunFiles> alike = read_runs({folder("a/run"), file});
  EXPECT_NE(alike[0].name, alike[1].name);
  EXPECT_NE(std::string::npos, message_of({folder("a/run"), folder("a/run") + "/"}).find("twice"));
}

TEST_F(Runs, MessagesSayWhereAndWhatToDo) {
  EXPECT_NE(std::string::npos, message_of({"/nowhere/run"}).find("there is no run /nowhere/run"));
  const std::string run = folder("run");
  EXPECT_NE(std::string::npos, message_of({run}).find("holds no run"));
  folder_.write("run/log.jsonl", "{\"type\":\"run\",\"step\":0}\n{\"type\":\"tr\n{}\n");
  EXPECT_NE(std::string::npos,
            message_of({run}).find("log.jsonl, line 2: not a JSON object. Delete"));
  folder_.write("run/log.jsonl", "{\"type\":\"run\",\"step\":0}\n{\"type\":\"tr");
  const std::vector<RunFiles> runs = read_runs({run});
  EXPECT_EQ(1U, runs[0].log.size());
  EXPECT_EQ(3U, runs[0].notes.size());  // config.json, the cut line, test.json
  EXPECT_NE(std::string::npos, runs[0].notes[1].find("line 2 is cut off"));
  folder_.write("run/test.json", "{\"kind\":\n");
  EXPECT_NE(std::string::npos, message_of({run}).find("test.json"));
  EXPECT_NE(std::string::npos, message_of({run}).find("move it away"));
  const std::string model = folder("model");
  folder_.write("model/config.json", "{}");
  folder_.write("model/model.safetensors", "");
  EXPECT_NE(std::string::npos, message_of({model}).find("is a model folder"));
  EXPECT_NE(std::string::npos, message_of({folder_.write("x.json", "{}")}).find("no key \"kind\""));
  EXPECT_EQ("", message_of({folder_.write("y.json", "{\"kind\":\"classifier\"}")}));
}

TEST_F(Runs, OfACrossValidationAreOneTest) {
  const std::string run = folder("folds");
  folder_.write("folds/folds.json", R"({"kind": "classifier", "folds": 5})");
  const std::vector<RunFiles> runs = read_runs({run});
  EXPECT_EQ("folds", runs[0].name);
  EXPECT_EQ(5, runs[0].test["folds"]);
}

TEST(TrainingLogs, KnowResumesSkipsAndTime) {
  RunFiles run;
  run.log = {{{"type", "run"}, {"step", 0}, {"steps", 100}, {"command", "one"}},
             {{"type", "train"},
              {"step", 10},
              {"loss", 2.0},
              {"tokens", 1000},
              {"tokens_per_second", 500},
              {"skipped", 0}},
             {{"type", "run"}, {"step", 10}, {"steps", 100}, {"command", "two"}},
             {{"type", "train"},
              {"step", 20},
              {"loss", nullptr},
              {"tokens", 2000},
              {"tokens_per_second", 1000},
              {"skipped", 3}},
             {{"type", "eval"}, {"step", 20}, {"metrics", {{"bits_per_base", 1.9}}}}};
  const TrainingLog log = training_log(run);
  EXPECT_EQ(std::vector<double>{10}, log.resumed);
  ASSERT_EQ(1U, log.skips.size());
  EXPECT_EQ(3, log.skips[0].second);
  EXPECT_DOUBLE_EQ(3.0, log.seconds);
  EXPECT_EQ((std::vector<std::string>{"one", "two"}), log.commands);
  EXPECT_TRUE(std::isnan(log.loss[1].y));
  EXPECT_EQ("unfinished: step 20 of 100", progress_text(log));
  EXPECT_FALSE(log.finished());
}

}  // namespace
}  // namespace strandwave::report
