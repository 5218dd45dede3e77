// What the tests of labelled fragments share.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "genomics/io/tokenizer.h"
#include "genomics/labelled_fragments.h"
#include "tests/support/temporary_folder.h"

namespace strandwave {

inline std::string random_letters(int64_t length, uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic);
  std::string letters;
  for (int64_t i = 0; i < length; ++i) letters += "ACGT"[stream.below(static_cast<uint64_t>(i), 4)];
  return letters;
}

// Genomes a0 (3,000 bases) and a1 of class a, b0 and b1 of class b; a1 and b1 are for the test.
class FragmentsTest : public ::testing::Test {
 protected:
  FragmentsTest() {
    for (const char* name : {"a0", "a1", "b0", "b1"})
      folder.write(std::string(name) + ".fa", ">chr\n" + letters[name] + "\n");
    manifest = folder.write("m.tsv",
                            "path\tlabel\tgroup\tsplit\na0.fa\ta\ta0\ttrain\na1.fa\ta\ta1\ttest\n"
                            "b0.fa\tb\tb0\ttrain\nb1.fa\tb\tb1\ttest\n");
    options.length = 50;
    options.cache_dir = (folder.path() / "cache").string();
  }

  // True when the fragment is a substring of `text`, on either strand.
  static bool comes_from(const std::vector<uint8_t>& ids, const std::string& text) {
    std::vector<uint8_t> turned = ids;
    dna::reverse_complement(turned);
    return text.find(dna::decode(ids)) != std::string::npos ||
           text.find(dna::decode(turned)) != std::string::npos;
  }

  std::map<std::string, std::string> letters = {{"a0", random_letters(3000, 1)},
                                                {"a1", random_letters(1000, 2)},
                                                {"b0", random_letters(1000, 3)},
                                                {"b1", random_letters(1000, 4)}};
  testing::TemporaryFolder folder;
  std::string manifest;
  FragmentOptions options;
};

}  // namespace strandwave
