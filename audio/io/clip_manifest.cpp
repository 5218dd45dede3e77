#include "audio/io/clip_manifest.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/spelling.h"
#include "core/base/text_fields.h"

namespace strandwave::audio {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLargestManifest = uint64_t{1} << 28;  // bytes

std::vector<std::string> fields_of(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  const std::vector<std::string_view> fields = split_fields(line, '\t');
  return {fields.begin(), fields.end()};
}

class ManifestReader {
 public:
  explicit ManifestReader(const fs::path& path)
      : path_(path), text_(read_file(path, kLargestManifest)) {}

  ClipFiles read() {
    std::vector<std::string> fields;
    if (!next(fields)) throw input_error(path_.string() + ": holds no line");
    read_header(fields);
    ClipFiles clips;
    while (next(fields)) clips.files.push_back(row(fields));
    if (clips.files.empty())
      throw input_error(path_.string() + ": names no audio file below its header line");
    if (columns_.count("label") > 0) clips.labels_from = "the manifest";
    if (columns_.count("speaker") > 0) clips.speakers_from = "the manifest";
    return clips;
  }

 private:
  bool next(std::vector<std::string>& fields) {
    std::string line;
    while (std::getline(text_, line)) {
      ++line_;
      if (line.find_first_not_of(" \t\r") == std::string::npos || line[0] == '#') continue;
      fields = fields_of(line);
      return true;
    }
    return false;
  }

  void read_header(const std::vector<std::string>& fields) {
    static const std::map<std::string, std::string> kKnown = {
        {"path", "path"},   {"file", "path"},       {"label", "label"},
        {"class", "label"}, {"speaker", "speaker"}, {"split", "split"}};
    count_ = fields.size();
    for (size_t i = 0; i < fields.size(); ++i) {
      const auto known = kKnown.find(fields[i]);
      if (known == kKnown.end()) refuse_misspelt(fields[i], kKnown);
      if (known != kKnown.end() && !columns_.emplace(known->second, i).second)
        throw input_error(where() + ": two columns for the " + known->second);
    }
    if (columns_.count("path") == 0)
      throw input_error(where() +
                        ": is no audio file, and no manifest either: that is a table with tabs "
                        "whose first line names its columns, one of them 'path' or 'file'");
  }

  void refuse_misspelt(const std::string& column,
                       const std::map<std::string, std::string>& known) const {
    for (const auto& [name, meaning] : known)
      if (edit_distance(column, name) == 1)
        throw input_error(where() + ": the column \"" + column + "\" is unknown: is it \"" + name +
                          "\"? Give it that name, or one that is not so near");
  }

  std::string value(const std::vector<std::string>& fields, const std::string& column) const {
    const auto at = columns_.find(column);
    return at == columns_.end() ? "" : fields[at->second];
  }

  ClipFile row(const std::vector<std::string>& fields) {
    if (fields.size() != count_)
      throw input_error(where() + ": has " + std::to_string(fields.size()) +
                        " columns where the header has " + std::to_string(count_));
    ClipFile file;
    file.name = value(fields, "path");
    if (file.name.empty()) throw input_error(where() + ": the path is empty");
    const auto [at, is_new] = lines_.emplace(file.name, line_);
    if (!is_new)
      throw input_error(where() + ": " + file.name + " stands in line " +
                        std::to_string(at->second) + " already");
    const fs::path given(file.name);
    file.path = given.is_absolute() ? given : path_.parent_path() / given;
    file.label = value(fields, "label");
    file.speaker = value(fields, "speaker");
    file.split = split(value(fields, "split"));
    return file;
  }

  std::optional<Split> split(const std::string& name) const {
    if (columns_.count("split") == 0) return {};
    if (name == "train" || name == "test") return split_of(name);
    if (name == "validation" || name == "valid" || name == "val" || name == "dev")
      return Split::kValidation;
    throw input_error(where() + ": there is no split '" + name +
                      "': write train, validation or test");
  }

  // Of the line read last.
  std::string where() const { return path_.string() + ", line " + std::to_string(line_); }

  fs::path path_;
  std::istringstream text_;
  int64_t line_ = 0;
  size_t count_ = 0;                       // of columns
  std::map<std::string, size_t> columns_;  // by their first name
  std::map<std::string, int64_t> lines_;   // of each path
};

}  // namespace

ClipFiles read_clip_manifest(const fs::path& path) { return ManifestReader(path).read(); }

}  // namespace strandwave::audio
