// Prints what genomics/classifier_report.h measures.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>

namespace strandwave::apps {

// The table of results, the confusion matrix and the groups, where there are not too many.
void print_classifier_report(const nlohmann::json& report, const std::string& title,
                             std::ostream& out);

}  // namespace strandwave::apps
