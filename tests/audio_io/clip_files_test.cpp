#include "audio/io/clip_files.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "audio/io/audio_file.h"
#include "tests/audio_io/sound_files.h"
#include "tests/support/error_testing.h"
#include "tests/support/temporary_folder.h"

namespace strandwave::audio {
namespace {

using strandwave::test::error_of;
using strandwave::testing::TemporaryFolder;

class ClipFilesTest : public ::testing::Test {
 protected:
  void sound(const std::string& name) const {
    const auto path = folder_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    write_audio(path, {8000, test::sine(50, 440, 8000)});
  }
  ClipFiles found(const ClipFileOptions& options = {}) const {
    return find_clip_files(folder_.path(), options);
  }
  std::string refused(const ClipFileOptions& options, ErrorKind kind = ErrorKind::kUsage) const {
    return error_of([&] { find_clip_files(folder_.path(), options); }, kind);
  }
  static std::vector<std::string> names(const ClipFiles& clips) {
    std::vector<std::string> names;
    for (const ClipFile& file : clips.files) names.push_back(file.name);
    return names;
  }
  // "train train test": the splits in the order of the files.
  static std::string splits(const ClipFiles& clips) {
    std::string text;
    for (const ClipFile& file : clips.files)
      text += (text.empty() ? "" : " ") + std::string(to_string(*file.split));
    return text;
  }
  TemporaryFolder folder_;
};

TEST_F(ClipFilesTest, FoldersByContent) {
  sound("b/x.wav");
  sound("a/deep/y.wav");
  sound("a/._y.wav");
  sound(".hidden/z.wav");
  std::filesystem::copy(folder_.path() / "b/x.wav", folder_.path() / "b/no_ending");
  folder_.write("readme.txt", "text");
  folder_.write("b/broken.flac", "text");
  const ClipFiles clips = found();
  EXPECT_EQ(names(clips),
            (std::vector<std::string>{"a/deep/y.wav", "b/broken.flac", "b/no_ending", "b/x.wav"}));
  EXPECT_EQ(clips.ignored, 1);
  EXPECT_EQ(clips.labels, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(clips.labels_from, "folders");
}

TEST_F(ClipFilesTest, NoAudio) {
  EXPECT_CONTAINS(refused({}, ErrorKind::kInput), "holds no files");
  folder_.write("readme.txt", "text");
  EXPECT_CONTAINS(refused({}, ErrorKind::kInput), "1 other files");
  EXPECT_CONTAINS(error_of([&] { find_clip_files(folder_.path() / "absent"); }),
                  "no such file or folder");
}

TEST_F(ClipFilesTest, NamesOfTheDigitDataset) {
  for (const char* name : {"7_jackson_32.wav", "0_theo_1.wav", "10_theo_1.wav"}) sound(name);
  EXPECT_EQ(found().labels_from, "");  // one name is of another shape
  std::filesystem::remove(folder_.path() / "10_theo_1.wav");
  const ClipFiles clips = found();
  EXPECT_EQ(clips.labels, (std::vector<std::string>{"0", "7"}));
  EXPECT_EQ(clips.files[1].speaker, "jackson");
  EXPECT_EQ(found({.label = "none", .speaker = "none"}).labels_from, "");
}

TEST_F(ClipFilesTest, NamesOfSpeechCommandsAndTheirOrder) {
  for (const char* word : {"zero", "one", "two", "nine", "ten", "11", "2"})
    sound(std::string(word) + "/00b01445_nohash_0.wav");
  const ClipFiles clips = found();
  EXPECT_EQ(clips.labels,
            (std::vector<std::string>{"zero", "one", "2", "two", "nine", "11", "ten"}));
  EXPECT_EQ(clips.files[0].speaker, "00b01445");
}

TEST_F(ClipFilesTest, Expressions) {
  sound("take1-anna.wav");
  sound("take2-bert.wav");
  const ClipFiles clips = found({.label = R"(take(\d))", .speaker = R"(-(\w+)\.)"});
  EXPECT_EQ(clips.labels, (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(clips.files[0].speaker, "anna");
  EXPECT_CONTAINS(refused({.label = "take(1)"}), "is not found in take2-bert.wav");
  EXPECT_CONTAINS(refused({.label = "take"}), "needs one group");
  EXPECT_CONTAINS(refused({.label = "take("}), "no regular expression");
  EXPECT_CONTAINS(refused({.label = "folder"}), "lies in no folder");
}

TEST_F(ClipFilesTest, Manifest) {
  sound("x.wav");
  sound("y.wav");
  const auto manifest = [&](const std::string& text) { return folder_.write("clips.tsv", text); };
  const ClipFiles clips = find_clip_files(
      manifest("## a comment\nseed\tfile\tclass\tspeaker\tsplit\n1\tx.wav\tdog\tanna\ttrain\n"
               "2\ty.wav\tcat\tbert\tdev\r\n\n"));
  EXPECT_EQ(names(clips), (std::vector<std::string>{"x.wav", "y.wav"}));
  EXPECT_EQ(clips.files[0].path, folder_.path() / "x.wav");
  EXPECT_EQ(clips.labels, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(clips.files[1].speaker, "bert");
  EXPECT_EQ(splits(clips), "train validation");
  const auto message = [&](const std::string& text) {
    return error_of([&] { find_clip_files(manifest(text)); });
  };
  EXPECT_CONTAINS(message("name\tlabel\nx\ty\n"), "line 1: is no audio file, and no manifest");
  EXPECT_CONTAINS(message("path\tlabel\nx.wav\n"), "line 2: has 1 columns where the header has 2");
  EXPECT_CONTAINS(message("path\nx.wav\nx.wav\n"), "line 3: x.wav stands in line 2 already");
  EXPECT_CONTAINS(message("path\tsplit\nx.wav\ttrial\n"), "line 2: there is no split 'trial'");
  EXPECT_CONTAINS(message("path\n"), "names no audio file");
  EXPECT_CONTAINS(message("path\tlabels\nx.wav\tdog\n"), "is it \"label\"?");
  EXPECT_CONTAINS(message("path\tfile\nx.wav\tx.wav\n"), "two columns for the path");
}

TEST_F(ClipFilesTest, SplitByFileKeepsShares) {
  for (int take = 0; take < 20; ++take)
    for (int digit = 0; digit < 2; ++digit)
      sound(std::to_string(digit) + "_anna_" + std::to_string(take) + ".wav");
  std::map<std::string, std::map<Split, int>> count;
  for (const ClipFile& file : found().files) ++count[file.label][*file.split];
  for (const char* label : {"0", "1"}) {
    EXPECT_EQ(count[label][Split::kValidation], 2);
    EXPECT_EQ(count[label][Split::kTest], 2);
  }
  EXPECT_EQ(splits(found()), splits(found()));
  ClipFileOptions other;
  other.shares.seed = 1;
  EXPECT_NE(splits(found()), splits(found(other)));
}

TEST_F(ClipFilesTest, SplitBySpeakerDividesNobody) {
  for (const char* speaker : {"anna", "bert", "carl", "dora", "eve"})
    for (int take = 0; take < 4; ++take)
      sound("1_" + std::string(speaker) + "_" + std::to_string(take) + ".wav");
  const ClipFiles clips = found({.split = SplitBy::kSpeaker});
  std::map<std::string, std::set<Split>> splits_of;
  std::set<Split> all;
  for (const ClipFile& file : clips.files) {
    splits_of[file.speaker].insert(*file.split);
    all.insert(*file.split);
  }
  for (const auto& [speaker, splits] : splits_of) EXPECT_EQ(splits.size(), 1U) << speaker;
  EXPECT_EQ(all.size(), 3U);
  EXPECT_CONTAINS(refused({.speaker = "none", .split = SplitBy::kSpeaker}), "is not known");
  EXPECT_CONTAINS(refused({.speaker = "(1)_", .split = SplitBy::kSpeaker}), "two at least");
}

TEST_F(ClipFilesTest, SplitByNames) {
  for (const char* name : {"1_anna_3.wav", "1_anna_7.wav", "1_anna_12.wav"}) sound(name);
  // Sorted: 12, 3, 7.
  EXPECT_EQ(
      splits(found({.split = SplitBy::kRegex, .validation = "_[5-9]\\.", .test = "_[0-4]\\."})),
      "train test validation");
  // Nothing named: out of training.
  const ClipFiles made = found({.split = SplitBy::kRegex, .test = "_3"});
  EXPECT_EQ(made.files[1].split, Split::kTest);
  EXPECT_NE(made.files[0].split, made.files[2].split);
  EXPECT_CONTAINS(made.split_by, "validation by file");
  ClipFileOptions none = {.split = SplitBy::kRegex, .test = "_3"};
  none.shares.validation = 0;
  EXPECT_EQ(splits(found(none)), "train test train");
  EXPECT_CONTAINS(refused({.split = SplitBy::kRegex, .validation = "anna", .test = "_3"}),
                  "for validation and for test");
  EXPECT_CONTAINS(refused({.split = SplitBy::kRegex}), "--validation and --test");
  EXPECT_CONTAINS(refused({.split = SplitBy::kRegex, .validation = "zzz"}), "matches none of the");
  EXPECT_CONTAINS(refused({.split = SplitBy::kRegex, .validation = "."}),
                  "leave no file to train on");
  EXPECT_CONTAINS(refused({.validation = "x"}), "go with --split regex");
  const TemporaryFolder lists;
  const std::string validation = lists.write("v.txt", "1_anna_7.wav\r\nother/word.wav\n"),
                    test = lists.write("t.txt", "1_anna_12.wav\n");
  EXPECT_EQ(splits(found({.split = SplitBy::kList, .validation = validation, .test = test})),
            "test train validation");
  EXPECT_CONTAINS(
      refused({.split = SplitBy::kList, .validation = lists.write("w.txt", "nothing\n")},
              ErrorKind::kInput),
      "none of its 1 lines");
}

}  // namespace
}  // namespace strandwave::audio
