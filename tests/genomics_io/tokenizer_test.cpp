#include "genomics/io/tokenizer.h"

#include <gtest/gtest.h>

#include <vector>

namespace strandwave::dna {
namespace {

std::vector<uint8_t> encoded(std::string_view letters) {
  std::vector<uint8_t> ids(letters.size());
  encode(letters, ids.data());
  return ids;
}

TEST(Tokenizer, HasTheIdsOfCaduceus) {
  EXPECT_EQ(encoded("ACGTN"), (std::vector<uint8_t>{7, 8, 9, 10, 11}));
  EXPECT_EQ(encoded("acgtn"), encoded("ACGTN"));
  EXPECT_EQ(encoded("Uu"), (std::vector<uint8_t>{10, 10}));
  EXPECT_EQ(encoded("RYSWKMBDHVryswkmbdhv"), std::vector<uint8_t>(20, 11));
  EXPECT_EQ(encoded("-*E \n"), std::vector<uint8_t>(5, kUnk));
}

TEST(Tokenizer, KnowsExactlyThe16IupacCodes) {
  int count = 0;
  for (int byte = 0; byte < 256; ++byte) count += is_iupac(static_cast<char>(byte)) ? 1 : 0;
  EXPECT_EQ(count, 32);
  for (const char gap : {'-', '*', '.', '>', '1', 'E', 'X', '\0'})
    EXPECT_FALSE(is_iupac(gap)) << gap;
}

TEST(Tokenizer, ComplementsBasesOnly) {
  const auto map = complement_map();
  for (int id = 0; id < kPaddedVocabulary; ++id) {
    const int expected = id == 7 ? 10 : id == 8 ? 9 : id == 9 ? 8 : id == 10 ? 7 : id;
    EXPECT_EQ(map[static_cast<size_t>(id)], expected);
    EXPECT_EQ(is_base(static_cast<uint8_t>(id)), id >= 7 && id <= 10);
  }
}

TEST(Tokenizer, ReverseComplementsIdsAndLetters) {
  std::vector<uint8_t> ids = encoded("AACGTN");
  reverse_complement(ids);
  EXPECT_EQ(decode(ids), "NACGTT");
  std::string letters = "ACGTNRYSWKMBDHVacu";
  reverse_complement_letters(letters);
  EXPECT_EQ(letters, "agtBDHVKMWSRYNACGT");
}

TEST(Tokenizer, DecodesOtherIdsAsQuestionMarks) {
  const std::vector<uint8_t> ids = {0, 4, 7, 11, 15};
  EXPECT_EQ(decode(ids), "??AN?");
}

}  // namespace
}  // namespace strandwave::dna
