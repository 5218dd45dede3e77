// What the report on a run of any kind ends with: its commands, settings and versions. No LibTorch.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/report/html_page.h"
#include "core/report/run_files.h"
#include "core/report/training_curves.h"

namespace strandwave::report {

struct LoggedRun {
  RunFiles files;
  TrainingLog log;
  int colour = 0;

  const std::string& name() const { return files.name; }
  const nlohmann::json& test() const { return files.test; }
};

// Runs of a kind that derives from it, as the functions below take them.
template <class Run>
std::vector<const LoggedRun*> logged(const std::vector<Run>& runs) {
  std::vector<const LoggedRun*> list;
  for (const Run& run : runs) list.push_back(&run);
  return list;
}

// One row per name, one column per run; a name that a run lacks has an empty cell.
class FactTable {
 public:
  explicit FactTable(std::vector<const LoggedRun*> runs) : runs_(std::move(runs)) {}

  void add(size_t run, const std::string& name, const std::string& value);
  // `differing`: only the rows in which the runs differ.
  Table table(const std::string& caption, bool differing = false) const;

 private:
  std::vector<const LoggedRun*> runs_;
  std::map<std::string, size_t> places_;
  std::vector<std::pair<std::string, std::vector<std::string>>> rows_;
};

std::vector<Markup> command_section(const std::vector<const LoggedRun*>& runs);
std::vector<Markup> settings_section(const std::vector<const LoggedRun*>& runs);

}  // namespace strandwave::report
