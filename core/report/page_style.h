// The look of a report page and of the charts on it, in light and dark and on paper. No LibTorch.
#pragma once

#include <string_view>

namespace strandwave::report {

// Colours of the palette: Okabe and Ito's for colour-blind readers, darkened or lightened until
// they stand out on the page. Class k<i> of an element chooses colour i for it and what it holds.
constexpr int kColours = 7;
constexpr int kNeutral = -1;  // grey, for what is compared with

std::string_view page_style();

}  // namespace strandwave::report
