// Layer strings: "M{24}", "(M-){12}", "M-M-M--M-M*-".
#pragma once

#include <string>
#include <string_view>

namespace strandwave {

// Writes a layer string out, one character per layer:
//   stack = item*;  item = ( character | "(" stack ")" ) [ "{" count "}" ]
// A character is any printable one but "(){}" and space; spaces are ignored; count is 0 to 10,000.
// Throws Error(kUsage) naming the position; more than 10,000 layers are refused.
std::string expand_layer_string(std::string_view stack);

}  // namespace strandwave
