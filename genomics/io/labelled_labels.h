// What the readers of labelled data share. Used by labelled.cpp only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "genomics/io/labelled.h"

namespace strandwave {

// Turns label texts into classes or values.
class LabelReader {
 public:
  explicit LabelReader(const LabelledOptions& options) : options_(options) {}

  // Throws Error beginning with `where` when the text is no label of this kind.
  void check(const std::string& text, const std::string& where) const;
  // The labels of these rows in order; sets label and targets. `name` is the file, for the error
  // when there are too few classes.
  template <typename Row>
  std::vector<std::string> assign(std::vector<Row>& rows, const std::string& name) const {
    std::vector<LabelledRow*> pointers;
    for (Row& row : rows) pointers.push_back(&row);
    return assign_rows(pointers, name);
  }

 private:
  std::vector<std::string> assign_rows(const std::vector<LabelledRow*>& rows,
                                       const std::string& name) const;
  std::vector<std::string> classes(const std::vector<LabelledRow*>& rows,
                                   const std::string& name) const;
  // The classes that a text names.
  std::vector<std::string> names(const std::string& text) const;

  const LabelledOptions& options_;
};

// train, validation, test or empty; throws Error beginning with `where`.
std::string normal_split(const std::string& text, const std::string& where);

// A group must lie in one split.
class GroupCheck {
 public:
  void add(const LabelledRow& row, const std::string& where);

 private:
  struct Place {
    std::string split, where;
  };
  std::map<std::string, Place> places_;
};

}  // namespace strandwave
