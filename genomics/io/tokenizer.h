// Character tokens of DNA: one id per base.
//
// The ids are those of Caduceus and HyenaDNA, so that their checkpoints can be used: specials 0-6,
// A 7, C 8, G 9, T 10, N 11. A model's vocabulary is padded to 16 rows. Lower case is folded, U
// becomes T, the other IUPAC codes (R Y S W K M B D H V) become N.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace strandwave::dna {

inline constexpr uint8_t kCls = 0;
inline constexpr uint8_t kSep = 1;  // also end of sequence
inline constexpr uint8_t kBos = 2;
inline constexpr uint8_t kMask = 3;
inline constexpr uint8_t kPad = 4;
inline constexpr uint8_t kReserved = 5;
inline constexpr uint8_t kUnk = 6;
inline constexpr uint8_t kA = 7;
inline constexpr uint8_t kC = 8;
inline constexpr uint8_t kG = 9;
inline constexpr uint8_t kT = 10;
inline constexpr uint8_t kN = 11;

// "tokenizer" in the config.json of models that read these ids.
inline constexpr const char* kTokenizerName = "dna-nucleotide";

inline constexpr int kVocabulary = 12;        // ids with a meaning
inline constexpr int kPaddedVocabulary = 16;  // rows of an embedding or a head

// True for A, C, G, T: the only ids that are predicted and that contribute to a loss.
constexpr bool is_base(uint8_t id) { return static_cast<uint8_t>(id - kA) < 4; }

// 0..3 for A, C, G, T; the caller has checked is_base. The complement of code c is 3 - c.
constexpr int base_code(uint8_t id) { return id - kA; }

// Complement: A <-> T, C <-> G, every other id (N, specials, padding rows) is its own.
constexpr uint8_t complement(uint8_t id) {
  return is_base(id) ? static_cast<uint8_t>(kA + kT - id) : id;
}

// The complement of all 16 ids, for models that permute logits.
constexpr std::array<uint8_t, kPaddedVocabulary> complement_map() {
  std::array<uint8_t, kPaddedVocabulary> map{};
  for (int id = 0; id < kPaddedVocabulary; ++id) {
    map[id] = complement(static_cast<uint8_t>(id));
  }
  return map;
}

// Id of each byte; kUnk for bytes that are no IUPAC nucleotide code.
const std::array<uint8_t, 256>& byte_to_id();

// True for the 16 IUPAC nucleotide codes ACGTUNRYSWKMBDHV in either case (gaps are not among them).
bool is_iupac(char letter);

// Writes letters.size() ids. Readers of this library hand out IUPAC letters only; any other byte
// becomes kUnk.
void encode(std::string_view letters, uint8_t* ids);

// Letters of ids: A C G T N; every other id becomes '?'.
std::string decode(std::span<const uint8_t> ids);

// In place: reverses the order and complements each id.
void reverse_complement(std::span<uint8_t> ids);

// In place on letters: keeps case, complements every IUPAC code (R <-> Y, K <-> M, B <-> V, D <->
// H; U and A pair as T and A). Other bytes stay.
void reverse_complement_letters(std::string& letters);

}  // namespace strandwave::dna
