// The report on DNA runs: which sections there are and what stands in them. No LibTorch.
#pragma once

#include <string>
#include <vector>

#include "core/report/run_files.h"

namespace strandwave {

// A self-contained HTML page on one run or several: results beside baselines, the course of
// training, data and leakage, commands, settings, versions. Equal files give equal bytes. What a
// run lacks is left out and said; runs of unknown kinds show their log and settings.
std::string dna_report(std::vector<report::RunFiles> runs);

}  // namespace strandwave
