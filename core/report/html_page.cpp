#include "core/report/html_page.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "core/report/page_style.h"

namespace strandwave::report {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// Texts up to this length stay on one line, whatever the width.
constexpr size_t kShortName = 30;
constexpr size_t kShortCell = 24;

// Bytes of the UTF-8 character at `at`; 0 when there is none.
size_t character_length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : lead >= 0xE0 && lead <= 0xEF ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  const unsigned char second = byte(at + 1);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool outside = (lead == 0xED && second > 0x9F) || (lead == 0xF4 && second > 0x8F);
  return overlong || outside ? 0 : length;
}

void append_escaped(std::string& out, std::string_view character) {
  const char c = character.front();
  if (c == '&')
    out += "&amp;";
  else if (c == '<')
    out += "&lt;";
  else if (c == '>')
    out += "&gt;";
  else if (c == '"')
    out += "&quot;";
  else if (c == '\'')
    out += "&#39;";
  else if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
    out += kReplacement;
  else
    out += character;
}

bool looks_like_number(const std::string& cell) {
  const size_t at = !cell.empty() && (cell[0] == '-' || cell[0] == '+') ? 1 : 0;
  return at < cell.size() && std::isdigit(static_cast<unsigned char>(cell[at])) != 0;
}

bool is_missing(const std::string& cell) { return cell.empty() || cell == "-"; }

// Per column whether it is set flush right.
std::vector<bool> number_columns(const Table& content) {
  std::vector<bool> numbers(content.header.size(), false);
  for (size_t column = 1; column < numbers.size(); ++column) {
    bool some = false;
    bool all = true;
    for (const std::vector<std::string>& row : content.rows) {
      if (column >= row.size() || is_missing(row[column])) continue;
      some = true;
      all = all && looks_like_number(row[column]);
    }
    numbers[column] = some && all;
  }
  return numbers;
}

std::string table_row(const Table& content, size_t index, const std::vector<bool>& numbers) {
  const std::vector<std::string>& row = content.rows[index];
  const bool strong =
      std::find(content.strong.begin(), content.strong.end(), index) != content.strong.end();
  std::string html = strong ? "<tr class=\"strong\">" : "<tr>";
  for (size_t column = 0; column < row.size(); ++column) {
    const bool number = column < numbers.size() && numbers[column];
    if (column > 0) {
      html += (number                             ? "<td class=\"number\">"
               : row[column].size() <= kShortCell ? "<td class=\"short\">"
                                                  : "<td>") +
              escape(row[column]) + "</td>";
      continue;
    }
    html += row[column].size() <= kShortName ? "<th scope=\"row\" class=\"short\">"
                                             : "<th scope=\"row\">";
    if (index < content.colours.size() && content.colours[index] >= 0)
      html += "<span class=\"swatch k" + std::to_string(content.colours[index] % kColours) +
              "\"></span>";
    html += escape(row[column]) + "</th>";
  }
  return html + "</tr>\n";
}

// The name of a section's anchor: letters and digits of its title.
std::string anchor(const std::string& title) {
  std::string name;
  for (const char c : title)
    if (const auto byte = static_cast<unsigned char>(c); std::isalnum(byte) != 0)
      name += static_cast<char>(std::tolower(byte));
    else if (!name.empty() && name.back() != '-')
      name += '-';
  return name;
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_length(text, at);
    if (length == 0)
      out += kReplacement;
    else
      append_escaped(out, text.substr(at, length));
    at += std::max<size_t>(length, 1);
  }
  return out;
}

std::string shortened(const std::string& text, size_t most) {
  size_t count = 0;
  size_t cut = text.size();
  for (size_t at = 0; at < text.size(); ++count) {
    if (count + 1 == most) cut = at;
    at += std::max<size_t>(character_length(text, at), 1);
  }
  return count <= most ? text : text.substr(0, cut) + "\xE2\x80\xA6";
}

Markup table(const Table& content) {
  const std::vector<bool> numbers = number_columns(content);
  const std::string name = escape(content.caption.empty() ? "table" : content.caption);
  // Outside of the table, so that a narrow one does not squeeze it.
  std::string html =
      content.caption.empty() ? "<div>" : "<div><p class=\"caption\">" + name + "</p>";
  // Wide tables scroll inside their frame; the frame takes the focus so that keys scroll it too.
  html += "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"" + name +
          "\"><table aria-label=\"" + name + "\">\n<thead><tr>";
  for (size_t column = 0; column < content.header.size(); ++column)
    html += std::string("<th scope=\"col\"") + (numbers[column] ? " class=\"number\">" : ">") +
            escape(content.header[column]) + "</th>";
  html += "</tr></thead>\n<tbody>";
  for (size_t index = 0; index < content.rows.size(); ++index)
    html += table_row(content, index, numbers);
  return {html + "</tbody></table></div></div>\n"};
}

Markup paragraph(const std::string& text, Tone tone) {
  constexpr std::array<const char*, 4> kOpening = {
      "<p>", "<p class=\"note\">", "<p class=\"warning\">", "<p class=\"verdict\">"};
  return {kOpening[static_cast<size_t>(tone)] + escape(text) + "</p>\n"};
}

Markup heading(const std::string& text) { return {"<h3>" + escape(text) + "</h3>\n"}; }

Markup command(const std::string& text) {
  return {"<pre class=\"command\" tabindex=\"0\"><code>" + escape(text) + "</code></pre>\n"};
}

Markup details(const std::string& summary, const Markup& content) {
  return {"<details><summary>" + escape(summary) + "</summary>\n" + content.html + "</details>\n"};
}

Markup facts(const std::vector<Fact>& list) {
  std::string html = "<dl class=\"facts\">\n";
  for (const Fact& fact : list) {
    html += "<div><dt>" + escape(fact.name) + "</dt><dd>" + escape(fact.value);
    if (!fact.remark.empty()) html += "<small>" + escape(fact.remark) + "</small>";
    html += "</dd></div>\n";
  }
  return {html + "</dl>\n"};
}

Markup figure(const std::string& title, const std::string& remark, const Markup& svg,
              const Table& numbers) {
  std::string html = "<figure>\n<figcaption><b>" + escape(title) + "</b>";
  if (!remark.empty()) html += "<span>" + escape(remark) + "</span>";
  html += "</figcaption>\n" + svg.html;
  if (!numbers.rows.empty()) html += details("Numbers", table(numbers)).html;
  return {html + "</figure>\n"};
}

Markup grid(const std::vector<Markup>& figures) {
  return figures.empty() ? Markup{}
                         : Markup{"<div class=\"grid\">\n" + joined(figures).html + "</div>\n"};
}

Markup beside(const std::vector<Markup>& parts) {
  return parts.empty() ? Markup{}
                       : Markup{"<div class=\"beside\">\n" + joined(parts).html + "</div>\n"};
}

Markup joined(const std::vector<Markup>& parts) {
  Markup all;
  for (const Markup& part : parts) all.html += part.html;
  return all;
}

void HtmlPage::section(const std::string& title, const std::vector<Markup>& parts) {
  Markup content = joined(parts);
  if (!content.html.empty()) sections_.emplace_back(title, std::move(content));
}

std::string HtmlPage::html() const {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "style-src 'unsafe-inline'; img-src data:; media-src data:\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
      escape(title_) + "</title>\n<style>\n" + std::string(page_style()) +
      "</style>\n</head>\n<body>\n<header>\n<h1>" + escape(title_) + "</h1>\n<p>" + escape(lead_) +
      "</p>\n<nav aria-label=\"Sections\">";
  for (const auto& [title, content] : sections_)
    html += "<a href=\"#" + anchor(title) + "\">" + escape(title) + "</a>\n";
  html += "</nav>\n</header>\n<main>\n";
  for (const auto& [title, content] : sections_)
    html += "<section id=\"" + anchor(title) + "\">\n<h2>" + escape(title) + "</h2>\n" +
            content.html + "</section>\n";
  return html + "</main>\n</body>\n</html>\n";
}

}  // namespace strandwave::report
