// Which known word a user may have meant.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace strandwave {

// Levenshtein distance: the least number of letters inserted, deleted or replaced that turn `a`
// into `b`. Takes O(|a| |b|) steps.
size_t edit_distance(std::string_view a, std::string_view b);

// The word of `known` nearest to `word`, the first of equals; "" when none is near.
std::string nearest_word(const std::string& word, const std::vector<std::string>& known);

}  // namespace strandwave
