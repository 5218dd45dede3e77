// Pieces of a self-contained HTML page: text, tables, figures. No LibTorch.
//
// Text goes in as std::string and is escaped here; markup comes out as Markup, a type of its own,
// so that neither can be taken for the other. The page loads nothing (pictures and sound stand
// inside it, core/report/media.h) and runs no script: its Content-Security-Policy forbids both,
// whatever names and messages it shows.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strandwave::report {

// Escaped, balanced HTML or SVG.
struct Markup {
  std::string html;
};

// The text for element content and quoted attributes. Bytes that are not UTF-8 and control
// characters other than tab and line feed become U+FFFD.
std::string escape(std::string_view text);
// The first `most` characters (code points); a longer text ends with an ellipsis.
std::string shortened(const std::string& text, size_t most);

// The first cell of a row is its heading. A column whose cells are numbers is set flush right.
struct Table {
  std::string caption = {};  // may be empty
  std::vector<std::string> header = {};
  std::vector<std::vector<std::string>> rows = {};
  std::vector<size_t> strong = {};  // indices of rows to set bold
  std::vector<int> colours = {};    // per row a palette index for a swatch, -1: none; may be empty
};
Markup table(const Table& content);

enum class Tone { kPlain, kNote, kWarning, kVerdict };
Markup paragraph(const std::string& text, Tone tone = Tone::kPlain);
Markup heading(const std::string& text);  // inside a section
// A command line to copy: one click selects it whole.
Markup command(const std::string& text);
// Folded away until opened.
Markup details(const std::string& summary, const Markup& content);

// Figures to read at a glance: name, value, remark (may be empty).
struct Fact {
  std::string name, value, remark;
};
Markup facts(const std::vector<Fact>& list);

// A chart with its title, a remark (may be empty) and the same numbers as a folded table.
Markup figure(const std::string& title, const std::string& remark, const Markup& svg,
              const Table& numbers);
// Figures side by side, as many as the window's width takes.
Markup grid(const std::vector<Markup>& figures);

// Narrow tables side by side where there is room.
Markup beside(const std::vector<Markup>& parts);

Markup joined(const std::vector<Markup>& parts);

class HtmlPage {
 public:
  HtmlPage(std::string title, std::string lead)
      : title_(std::move(title)), lead_(std::move(lead)) {}
  // An empty section is left out.
  void section(const std::string& title, const std::vector<Markup>& parts);
  std::string html() const;

 private:
  std::string title_, lead_;
  std::vector<std::pair<std::string, Markup>> sections_;
};

}  // namespace strandwave::report
