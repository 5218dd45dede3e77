#include "genomics/io/tokenizer.h"

#include <algorithm>

namespace strandwave::dna {
namespace {

constexpr std::string_view kAmbiguous = "NRYSWKMBDHV";

constexpr char lower(char letter) { return static_cast<char>(letter | 0x20); }
constexpr size_t at(char letter) { return static_cast<unsigned char>(letter); }

constexpr std::array<uint8_t, 256> make_ids() {
  std::array<uint8_t, 256> ids{};
  ids.fill(kUnk);
  constexpr std::string_view bases = "ACGTU";
  for (size_t i = 0; i < bases.size(); ++i) {
    const uint8_t id = bases[i] == 'U' ? kT : static_cast<uint8_t>(kA + i);
    ids[at(bases[i])] = id;
    ids[at(lower(bases[i]))] = id;
  }
  for (const char letter : kAmbiguous) {
    ids[at(letter)] = kN;
    ids[at(lower(letter))] = kN;
  }
  return ids;
}
constexpr std::array<uint8_t, 256> kIds = make_ids();

constexpr std::array<char, 256> make_complements() {
  std::array<char, 256> map{};
  for (int byte = 0; byte < 256; ++byte) map[static_cast<size_t>(byte)] = static_cast<char>(byte);
  constexpr std::string_view from = "ACGTURYKMBVDH";
  constexpr std::string_view to = "TGCAAYRMKVBHD";
  for (size_t i = 0; i < from.size(); ++i) {
    map[at(from[i])] = to[i];
    map[at(lower(from[i]))] = lower(to[i]);
  }
  return map;
}
constexpr std::array<char, 256> kComplements = make_complements();

}  // namespace

const std::array<uint8_t, 256>& byte_to_id() { return kIds; }

bool is_iupac(char letter) { return kIds[at(letter)] != kUnk; }

void encode(std::string_view letters, uint8_t* ids) {
  for (const char letter : letters) *ids++ = kIds[at(letter)];
}

std::string decode(std::span<const uint8_t> ids) {
  constexpr std::string_view letters = "ACGTN";
  std::string text(ids.size(), '?');
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= kA && ids[i] <= kN) text[i] = letters[ids[i] - kA];
  }
  return text;
}

void reverse_complement(std::span<uint8_t> ids) {
  std::reverse(ids.begin(), ids.end());
  for (uint8_t& id : ids) id = complement(id);
}

void reverse_complement_letters(std::string& letters) {
  std::reverse(letters.begin(), letters.end());
  for (char& letter : letters) letter = kComplements[at(letter)];
}

}  // namespace strandwave::dna
