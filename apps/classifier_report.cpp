#include "apps/classifier_report.h"

#include <ostream>

#include "apps/table.h"
#include "genomics/classifier_report.h"

namespace strandwave::apps {

void print_classifier_report(const nlohmann::json& report, const std::string& title,
                             std::ostream& out) {
  constexpr size_t kMostGroups = 40;
  out << title << '\n';
  print_table(out, results_table(report));
  for (const TextTable& table : {confusion_table(report), group_table(report)}) {
    if (table.empty() || table.size() > kMostGroups + 1) continue;
    out << '\n';
    print_table(out, table);
  }
}

}  // namespace strandwave::apps
