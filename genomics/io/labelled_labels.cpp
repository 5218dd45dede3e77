#include "genomics/io/labelled_labels.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/base/error.h"
#include "core/base/text_fields.h"
#include "genomics/io/read_writer.h"

namespace strandwave {
namespace {

std::string shown(const std::string& split) {
  return split.empty() ? "no split" : "the split \"" + split + "\"";
}

}  // namespace

std::vector<std::string> LabelReader::names(const std::string& text) const {
  if (options_.kind == LabelKind::kClass) return {text};
  std::vector<std::string> result;
  for (std::string_view name : split_fields(text, ';')) {
    while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
    while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
    if (!name.empty() && name != ".") result.emplace_back(name);
  }
  return result;
}

void LabelReader::check(const std::string& text, const std::string& where) const {
  if (options_.kind == LabelKind::kRegression) {
    const auto value = parse_number<double>(text);
    if (text.empty()) throw input_error(where + ": the label is empty.");
    if (!value || !std::isfinite(*value))
      throw input_error(where + ": the label \"" + text +
                        "\" is not a number; regression needs numbers.");
    return;
  }
  if (text.empty() && options_.kind == LabelKind::kClass)
    throw input_error(where + ": the label is empty.");
  for (const std::string& name : names(text)) {
    if (name == kUnclassified)
      throw input_error(where + ": the label \"" + name +
                        "\" is what reads without a label are called; name the class otherwise.");
    if (options_.labels.empty()) continue;
    if (std::find(options_.labels.begin(), options_.labels.end(), name) == options_.labels.end())
      throw input_error(where + ": the label \"" + name + "\" is none of the " +
                        std::to_string(options_.labels.size()) + " known classes (" +
                        options_.labels.front() + " ... " + options_.labels.back() + ").");
  }
}

std::vector<std::string> LabelReader::classes(const std::vector<LabelledRow*>& rows,
                                              const std::string& name) const {
  if (options_.kind == LabelKind::kRegression) return {"value"};
  if (!options_.labels.empty()) return options_.labels;
  std::set<std::string> distinct;
  for (const LabelledRow* row : rows)
    for (std::string& label : names(row->text)) distinct.insert(std::move(label));
  std::vector<std::string> sorted(distinct.begin(), distinct.end());
  if (sorted.empty()) throw input_error(name + " has no label: every row has none.");
  if (sorted.size() == 1 && options_.kind == LabelKind::kClass)
    throw input_error(name + " has one class only, \"" + sorted.front() +
                      "\": a classifier needs at least two: add sequences of another.");
  if (std::all_of(sorted.begin(), sorted.end(), parse_number<double>))
    std::sort(sorted.begin(), sorted.end(), [](const std::string& a, const std::string& b) {
      return *parse_number<double>(a) < *parse_number<double>(b);
    });
  return sorted;
}

std::vector<std::string> LabelReader::assign_rows(const std::vector<LabelledRow*>& rows,
                                                  const std::string& name) const {
  std::vector<std::string> labels = classes(rows, name);
  std::map<std::string, int32_t> index;
  for (size_t i = 0; i < labels.size(); ++i) index[labels[i]] = static_cast<int32_t>(i);
  for (LabelledRow* row : rows) {
    if (options_.kind == LabelKind::kClass) {
      row->label = index.at(row->text);
    } else if (options_.kind == LabelKind::kRegression) {
      row->targets = {static_cast<float>(*parse_number<double>(row->text))};
    } else {
      row->targets.assign(labels.size(), 0);
      for (const std::string& label : names(row->text))
        row->targets[static_cast<size_t>(index.at(label))] = 1;
    }
  }
  return labels;
}

std::string normal_split(const std::string& text, const std::string& where) {
  std::string split = text;
  for (char& c : split)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (split == "valid" || split == "val" || split == "dev") return "validation";
  if (split.empty() || split == "train" || split == "validation" || split == "test") return split;
  throw input_error(where + ": the split \"" + text + "\" is none of train, validation and test.");
}

void GroupCheck::add(const LabelledRow& row, const std::string& where) {
  if (row.group.empty()) return;
  const auto [known, is_new] = places_.try_emplace(row.group, Place{row.split, where});
  if (is_new || known->second.split == row.split) return;
  throw input_error(where + ": the group \"" + row.group + "\" is in " + shown(row.split) +
                    ", but in " + shown(known->second.split) + " at " + known->second.where +
                    "; a group must not be divided.");
}

}  // namespace strandwave
