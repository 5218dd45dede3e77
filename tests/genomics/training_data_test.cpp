// What a model was trained on, and how much of some targets that covers.
#include "genomics/training_data.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/base/error.h"
#include "core/base/random.h"
#include "core/checkpoint/checkpoint.h"
#include "genomics/io/tokenizer.h"
#include "tests/support/temporary_folder.h"

namespace strandwave {
namespace {

std::string random_letters(int64_t length, uint64_t seed) {
  const RandomStream stream(seed, RandomPurpose::kSynthetic);
  std::string letters;
  for (int64_t i = 0; i < length; ++i) letters += "ACGT"[stream.below(static_cast<uint64_t>(i), 4)];
  return letters;
}

Interval interval(int64_t contig, int64_t start, int64_t end) {
  return {contig, start, end, "", '.'};
}

class TrainingDataTest : public ::testing::Test {
 protected:
  TrainingDataTest() {
    training_genome = open("train.fa", ">a\n" + a + "\n>b\n" + b + "\n");
    data.add(*training_genome, {interval(0, 0, 6000)});
    data.add_seen(*training_genome, {interval(0, 100, 200), interval(0, 150, 400)});
  }
  std::optional<Genome> open(const std::string& name, const std::string& text) {
    return Genome::open({folder.write(name, text)}, (folder.path() / "cache").string());
  }

  testing::TemporaryFolder folder;
  const std::string a = random_letters(9000, 1) + std::string(1000, 'N');
  const std::string b = random_letters(5000, 2);
  std::optional<Genome> training_genome;
  TrainingData data;
};

TEST_F(TrainingDataTest, IntervalsAreExactOnContigsOfTheSameMd5) {
  // Other names, other case, other order: the same sequences.
  std::string lower = a;
  for (char& letter : lower) letter = static_cast<char>(std::tolower(letter));
  const Genome same = *open("same.fa", ">chrB\n" + b + "\n>chrA\n" + lower + "\n");
  const auto seen = data.seen_fraction(same, {interval(1, 3000, 10000), interval(0, 0, 2000)});
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->by, "intervals");
  EXPECT_EQ(seen->fraction, 3000.0 / 8000);  // the 1,000 N count nowhere
  EXPECT_TRUE(seen->notable());
  EXPECT_EQ(seen->sentence(), "37.5 % of targets were seen in pretraining (exact, by intervals)");
  // Held out on a known contig: nothing, although the sketch knows its neighbours.
  const auto held_out = data.seen_fraction(same, {interval(1, 6000, 9000)});
  EXPECT_EQ(held_out->fraction, 0);
  EXPECT_FALSE(held_out->notable());
}

TEST_F(TrainingDataTest, TheSketchAnswersForUnknownContigs) {
  const Genome other = *open("other.fa", ">piece\n" + a.substr(2000, 3000) + "\n>new\n" +
                                             random_letters(3000, 3) + "\n>b\n" + b + "\n");
  const auto seen = [&](const Intervals& targets) { return *data.seen_fraction(other, targets); };
  EXPECT_EQ(seen({interval(0, 0, 3000)}).fraction, 1);
  EXPECT_EQ(seen({interval(0, 0, 3000)}).by, "sketch");
  EXPECT_EQ(seen({interval(1, 0, 3000)}).fraction, 0);
  EXPECT_NEAR(seen({interval(0, 0, 3000), interval(1, 0, 3000)}).fraction, 0.5, 1e-9);
  const SeenFraction mixed = seen({interval(0, 0, 3000), interval(2, 0, 5000)});
  EXPECT_EQ(mixed.by, "intervals and sketch");
  EXPECT_NEAR(mixed.fraction, 3000.0 / 8000, 1e-9);
  EXPECT_FALSE(data.seen_fraction(other, {}));
  // A few 21-mers are no measure: then the known contigs alone count.
  const SeenFraction few = seen({interval(0, 0, 40), interval(2, 0, 5000)});
  EXPECT_EQ(few.by, "intervals and sketch");
  EXPECT_EQ(few.compared, 20);
  EXPECT_EQ(few.fraction, 0);
  EXPECT_TRUE(few.too_few());
}

TEST_F(TrainingDataTest, ReadsAreComparedBySketch) {
  std::vector<std::vector<uint8_t>> reads;
  for (const std::string& letters :
       {a.substr(1000, 200), random_letters(200, 4), std::string("ACGT")}) {
    reads.emplace_back(letters.size());
    dna::encode(letters, reads.back().data());
  }
  EXPECT_NEAR(data.seen_fraction(reads)->fraction, 0.5, 1e-9);
  EXPECT_EQ(data.seen_fraction(reads)->compared, 360);
  data.add(reads[1]);
  EXPECT_EQ(data.seen_fraction(reads)->fraction, 1);
  EXPECT_EQ(data.bases(), 6200);
  const auto short_one = data.seen_fraction(std::span(reads).subspan(2));
  EXPECT_TRUE(short_one->notable());
  EXPECT_EQ(short_one->sentence(),
            "how much of the targets was seen in pretraining: too few sampled 21-mers to tell (0)");
  const std::vector<std::vector<uint8_t>> unknown = {std::vector<uint8_t>(50, dna::kN)};
  EXPECT_FALSE(data.seen_fraction(unknown));
}

TEST_F(TrainingDataTest, RoundTripAndCompanion) {
  const TrainingData again = TrainingData::from_bytes(data.to_bytes(), "f");
  EXPECT_EQ(again.to_bytes(), data.to_bytes());
  EXPECT_EQ(again.bases(), 6000);
  EXPECT_EQ(again.seen_fraction(*training_genome, whole_genome(*training_genome))->fraction,
            6000.0 / 14000);
  EXPECT_EQ(*again.seen_on(*training_genome), Intervals{interval(0, 100, 400)});
  EXPECT_FALSE(again.seen_on(*open("b.fa", ">b\n" + b + "\n")));
  EXPECT_FALSE(TrainingData().seen_on(*training_genome));

  ModelConfig config;
  config.d_model = 8;
  config.stack = "M";
  const std::filesystem::path model = folder.path() / "model";
  save_model(model, SequenceModel(config, 1));
  EXPECT_FALSE(seen_in_training(model, *training_genome, whole_genome(*training_genome)));
  add_companion(model, TrainingData::kCompanion, data.to_bytes());
  EXPECT_EQ(seen_in_training(model, *training_genome, {interval(0, 0, 100)})->fraction, 1);
}

TEST_F(TrainingDataTest, AStartModelsDataArePassedOn) {
  const Genome next = *open("next.fa", ">c\n" + random_letters(4000, 5) + "\n>a\n" + a + "\n");
  TrainingData more;
  more.add(next, {interval(0, 0, 4000), interval(1, 5000, 7000)});
  more.merge(data);
  more.add_seen(next, {interval(0, 0, 50)});
  const auto seen = more.seen_fraction(next, whole_genome(next));
  EXPECT_EQ(seen->by, "intervals");
  EXPECT_NEAR(seen->fraction, 11000.0 / 13000, 1e-9);
  EXPECT_EQ(*more.seen_on(next), (Intervals{interval(0, 0, 50), interval(1, 100, 400)}));
  EXPECT_EQ(more.bases(), 12000);
}

TEST_F(TrainingDataTest, DamagedFilesAreRefused) {
  const std::string good = data.to_bytes();
  const auto message_of = [](const std::string& bytes) -> std::string {
    try {
      TrainingData::from_bytes(bytes, "m/training_data.safetensors");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInput);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message_of(good), "");
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string bytes = good;
    EXPECT_EQ(from.size(), to.size());
    bytes.replace(bytes.find(from), from.size(), to);
    return message_of(bytes);
  };
  EXPECT_NE(replaced("strandwave-training", "strandwave-draining").find("is no strandwave"),
            std::string::npos);
  EXPECT_NE(replaced("\"k\":\"21\"", "\"k\":\"22\"").find("22 bases"), std::string::npos);
  EXPECT_NE(replaced("\"scale\":\"1\"", "\"scale\":\"3\"").find("power of two"), std::string::npos);
  EXPECT_NE(replaced("\"bases\":\"6000\"", "\"bases\":\"6e00\"").find("no number"),
            std::string::npos);
  EXPECT_NE(replaced("\"seen\":", "\"sean\":").find("\"seen\" is missing"), std::string::npos);
  EXPECT_NE(message_of(good.substr(0, good.size() / 2)).find("truncated"), std::string::npos);
  EXPECT_NE(message_of("").find("not a valid"), std::string::npos);
  // An interval past its contig's end.
  std::string bytes = good;
  const int64_t end = 6000;
  const std::string row(reinterpret_cast<const char*>(&end), 8);
  const int64_t past = 10001;
  bytes.replace(bytes.rfind(row), 8, std::string(reinterpret_cast<const char*>(&past), 8));
  EXPECT_NE(message_of(bytes).find("outside its contig"), std::string::npos);
}

TEST(SeenFractionTest, WordsAreNeverMoreThanKnown) {
  EXPECT_EQ((SeenFraction{0.99999, "sketch", 123}).sentence(),
            "> 99.9 % of targets were seen in pretraining (estimated from 123 sampled 21-mers; "
            "copies of repeats "
            "count)");
  EXPECT_EQ((SeenFraction{0.00001, "intervals", 0}).sentence(),
            "< 0.01 % of targets were seen in pretraining (exact, by intervals)");
  EXPECT_EQ((SeenFraction{0.5, "sketch", 60}).sentence("training"),
            "50.0 % of targets were seen in training (estimated from 60 sampled 21-mers; copies of "
            "repeats count)");
  EXPECT_EQ((SeenFraction{0.5, "sketch", 49}).sentence("training"),
            "how much of the targets was seen in training: too few sampled 21-mers to tell (49)");
  EXPECT_EQ((SeenFraction{0.5, "intervals and sketch", 3}).sentence(),
            "50.0 % of targets on known contigs were seen in pretraining (exact, by intervals); of "
            "the others: too few sampled 21-mers to tell (3)");
  EXPECT_EQ((SeenFraction{0.001, "sketch", 49}).notable(), true);
  EXPECT_EQ((SeenFraction{0.001, "sketch", 50}).notable(), false);
  EXPECT_EQ((SeenFraction{0.001, "intervals", 0}).notable(), true);
}

}  // namespace
}  // namespace strandwave
