#include "genomics/io/labelled.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "genomics/io/column_table.h"
#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

using test::error_of;
using Texts = std::vector<std::string>;

class LabelledTest : public testing::Test {
 protected:
  LabelledTest() {
    folder_.write("a.fa", ">a\nAC\n");
    folder_.write("b.fa", ">b\nGT\n");
  }
  std::string file(const std::string& text) { return folder_.write("data", text); }
  Manifest manifest(const std::string& text, const LabelledOptions& options = {}) {
    return read_manifest(file(text), options);
  }
  LabelledData table(const std::string& text, const LabelledOptions& options = {}) {
    return read_labelled(file(text), options);
  }
  std::string refusal(const std::string& text, const LabelledOptions& options = {}) {
    return error_of([&] { table(text, options); });
  }
  std::string manifest_refusal(const std::string& text) {
    return error_of([&] { manifest(text); });
  }

  test::TemporaryFolder folder_;
};

TEST_F(LabelledTest, ReadsAManifest) {
  const Manifest read =
      manifest("# strains\nlabel\tpath\tsplit\tgroup\ncoli\ta.fa\ttrain\tK12\n\naureus\t" +
               folder_.path("b.fa") + "\tdev\tN315\n");
  EXPECT_EQ(read.labels, (Texts{"aureus", "coli"}));
  ASSERT_EQ(read.rows.size(), 2U);
  EXPECT_EQ(read.rows[0].path, folder_.path("a.fa"));
  EXPECT_EQ(read.rows[0].label, 1);
  EXPECT_EQ(read.rows[0].group, "K12");
  EXPECT_EQ(read.rows[0].split, "train");
  EXPECT_EQ(read.rows[0].line, 3);
  EXPECT_EQ(read.rows[1].path, folder_.path("b.fa"));
  EXPECT_EQ(read.rows[1].split, "validation");
  EXPECT_EQ(read.rows[1].line, 5);
}

TEST_F(LabelledTest, ReadsAManifestWithoutHeader) {
  for (const char* text : {"a.fa x\nb.fa y\n", "a.fa\tx\nb.fa\ty\n", "a.fa,x\nb.fa,y\n"}) {
    EXPECT_EQ(labelled_format(file(text)), LabelledFormat::kManifest) << text;
    const Manifest read = manifest(text);
    EXPECT_EQ(read.labels, (Texts{"x", "y"}));
    ASSERT_EQ(read.rows.size(), 2U);
    EXPECT_EQ(read.rows[1].line, 2);
  }
}

TEST_F(LabelledTest, SaysWhatIsWrongWithAManifest) {
  EXPECT_CONTAINS(manifest_refusal("path\tclass\na.fa\tx\n"),
                  "data, line 1: no column \"label\"; found: path, class");
  EXPECT_CONTAINS(manifest_refusal("path\tlabel\na.fa\tx\nnone.fa\ty\n"),
                  "line 3: cannot read " + folder_.path("none.fa"));
  EXPECT_CONTAINS(manifest_refusal("path\tlabel\n.\tx\n"), "is a folder");
  EXPECT_CONTAINS(manifest_refusal("path\tlabel\na.fa\t\n"), "line 2: the label is empty");
  EXPECT_CONTAINS(manifest_refusal("path\tlabel\n\tx\n"), "line 2: the path is empty");
  EXPECT_CONTAINS(manifest_refusal("path\tlabel\na.fa\tx\nb.fa\tx\n"), "one class only, \"x\"");
  EXPECT_CONTAINS(manifest_refusal("path\tlabel\na.fa\tx\na.fa\ty\n"),
                  "line 3: " + folder_.path("a.fa") + " stands in line 2 already");
  EXPECT_CONTAINS(manifest_refusal("path\tlabel\tsplit\na.fa\tx\tlearn\n"),
                  "the split \"learn\" is none of");
  EXPECT_CONTAINS(
      manifest_refusal("path\tlabel\tgroup\tsplit\na.fa\tx\tg\ttrain\nb.fa\ty\tg\ttest\n"),
      "line 3: the group \"g\" is in the split \"test\", but in the split \"train\" at " +
          folder_.path("data") + ", line 2");
  EXPECT_CONTAINS(manifest_refusal("path\tlabel\n"), "has a header but no row");
  EXPECT_CONTAINS(manifest_refusal("path\tlabel\na.fa\n"),
                  "line 2: 1 columns where the header has 2");
  EXPECT_CONTAINS(error_of([&] { table("path\tlabel\na.fa\tx\nb.fa\ty\n"); }, ErrorKind::kUsage),
                  "is a manifest of files");
}

TEST_F(LabelledTest, ReadsTables) {
  const LabelledData gue = table("sequence,label\nACGT,10\nGGNN,9\nacgt,10\n");
  EXPECT_EQ(gue.labels, (Texts{"9", "10"}));  // by value
  ASSERT_EQ(gue.sequences.size(), 3U);
  EXPECT_EQ(gue.sequences[0].label, 1);
  EXPECT_EQ(gue.sequences[1].sequence, "GGNN");
  EXPECT_EQ(gue.sequences[2].name, "row3");
  const LabelledData quoted = table(
      "\xef\xbb\xbf\"Name\",\"Label\",\"Sequence\",\"Split\"\r\n\"a, \"\"b\"\"\",\"x "
      "y\",\"ACGT\",\"TEST\"\r\nc,z,AC,\r\n");
  EXPECT_EQ(quoted.labels, (Texts{"x y", "z"}));
  EXPECT_EQ(quoted.sequences[0].name, "a, \"b\"");
  EXPECT_EQ(quoted.sequences[0].split, "test");
  EXPECT_EQ(read_labelled(folder_.write("x.gz", test::gzip("label\tseq\na\tAC\nb\tGT\n")))
                .sequences.size(),
            2U);
}

TEST_F(LabelledTest, SaysWhatIsWrongWithATable) {
  EXPECT_CONTAINS(refusal("dna,label\nAC,x\n"), "columns found: dna, label");
  EXPECT_CONTAINS(error_of([&] { read_labelled_csv(file("dna,label\nAC,x\n")); }),
                  "no column \"sequence\"; found: dna, label");
  EXPECT_CONTAINS(refusal("sequence,label\nAC,x\nAEC,y\n"),
                  "data, line 3, position 2 of the sequence: \"E\"");
  EXPECT_CONTAINS(refusal("sequence,label\n,x\n"), "line 2: the sequence is empty");
  EXPECT_CONTAINS(refusal("sequence,label\nAC\n"), "line 2: 1 columns where the header has 2");
  EXPECT_CONTAINS(refusal("sequence,label\nAC,x\nAC,x\n"), "one class only, \"x\"");
  EXPECT_CONTAINS(refusal("sequence,label\nAC,\"x\n"), "line 2: a quote is not closed");
  EXPECT_CONTAINS(refusal("sequence,label\n"), "has a header but no row");
  EXPECT_CONTAINS(refusal("# only a comment\n"), "holds no row");
}

TEST_F(LabelledTest, ReadsFasta) {
  const LabelledData keyed = table(">a label=x group=g split=train\nAC\n>b len=2 label=y\nGT\n");
  EXPECT_EQ(keyed.labels, (Texts{"x", "y"}));
  EXPECT_EQ(keyed.sequences[0].group, "g");
  EXPECT_EQ(keyed.sequences[0].split, "train");
  EXPECT_EQ(keyed.sequences[1].label, 1);
  const LabelledData second = table(">a y rest\nAC\n>b x\nGT\n");
  EXPECT_EQ(second.labels, (Texts{"x", "y"}));
  EXPECT_EQ(second.sequences[0].label, 1);
  EXPECT_EQ(table("@a label=1\nAC\n+\nII\n@b label=2\nAC\n+\nII\n").labels, (Texts{"1", "2"}));
  EXPECT_CONTAINS(refusal(">a x\nAC\n>b\nGT\n"), "record 2 \"b\": no label");
  EXPECT_CONTAINS(refusal(">a label=x\nAC\n>b y\nGT\n"),
                  "record 2 \"b\": some records have label=NAME");
  EXPECT_CONTAINS(refusal(">a x\nAC\n>b x\nGT\n"), "one class only");
  std::string described;
  for (int i = 0; i < 21; ++i) described += ">r gene" + std::to_string(i) + "\nAC\n";
  EXPECT_CONTAINS(refusal(described), "21 different ones in 21 records, which are no labels");
}

TEST_F(LabelledTest, RefusesWhatCannotBeAClass) {
  LabelledOptions several;
  several.kind = LabelKind::kMultiLabel;
  EXPECT_CONTAINS(refusal("sequence,label\nAC,a\nAC,unclassified\n"),
                  "line 3: the label \"unclassified\" is what reads without a label are called");
  EXPECT_CONTAINS(refusal("sequence,label\nAC,a;unclassified\n", several), "\"unclassified\"");
  std::string values = "sequence,label\n", numbers = values;
  for (int i = 0; i < 42; ++i) {
    values += "AC," + std::to_string(i / 2.0) + "\n";
    numbers += "AC," + std::to_string(i / 2) + "\n";
  }
  EXPECT_CONTAINS(refusal(values), "its labels are 42 different numbers in 42 sequences");
  EXPECT_CONTAINS(refusal(values), "--kind regression");
  EXPECT_EQ(table(numbers).labels.size(), 21U);
}

TEST_F(LabelledTest, TakesKnownClassesAndNumbers) {
  LabelledOptions known;
  known.labels = {"z", "x", "y"};
  const LabelledData one = table("sequence,label\nAC,x\n", known);
  EXPECT_EQ(one.labels, known.labels);
  EXPECT_EQ(one.sequences[0].label, 1);
  EXPECT_CONTAINS(refusal("sequence,label\nAC,q\n", known),
                  "line 2: the label \"q\" is none of the 3 known classes");
  LabelledOptions regression;
  regression.kind = LabelKind::kRegression;
  const LabelledData numbers = table("sequence,label\nAC,1.5\nAC,-2e3\n", regression);
  EXPECT_EQ(numbers.labels, Texts{"value"});
  EXPECT_EQ(numbers.sequences[1].targets, std::vector<float>{-2000});
  EXPECT_EQ(numbers.sequences[1].label, -1);
  EXPECT_CONTAINS(refusal("sequence,label\nAC,high\n", regression), "\"high\" is not a number");
  EXPECT_CONTAINS(refusal("sequence,label\nAC,nan\n", regression), "\"nan\" is not a number");
}

TEST_F(LabelledTest, ReadsSeveralLabelsPerSequence) {
  LabelledOptions several;
  several.kind = LabelKind::kMultiLabel;
  const LabelledData read =
      table("sequence,label\nAC,b;a\nAG,.\nAT,\nCC, b ; b\nGG,c;.\n", several);
  EXPECT_EQ(read.labels, (Texts{"a", "b", "c"}));
  const std::vector<std::vector<float>> expected = {
      {1, 1, 0}, {0, 0, 0}, {0, 0, 0}, {0, 1, 0}, {0, 0, 1}};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(read.sequences[i].targets, expected[i]) << i;
    EXPECT_EQ(read.sequences[i].label, -1);
  }
  EXPECT_EQ(table(">a label=\nAC\n>b label=x\nAC\n", several).labels, Texts{"x"});
  EXPECT_CONTAINS(refusal("sequence,label\nAC,.\n", several), "has no label: every row has none");
  several.labels = {"a", "b"};
  EXPECT_CONTAINS(refusal("sequence,label\nAC,a;q\n", several),
                  "line 2: the label \"q\" is none of the 2 known classes");
}

TEST_F(LabelledTest, ReadsAFolderOrAListOfSplits) {
  std::filesystem::create_directory(folder_.path("gue"));
  folder_.write("gue/train.csv", "sequence,label\nAC,0\nAG,1\n");
  folder_.write("gue/dev.csv.gz", test::gzip("sequence,label\nAT,1\n"));
  folder_.write("gue/test.fa", ">t label=0\nCC\n");
  folder_.write("gue/readme.txt", "nothing");
  const LabelledData read = read_labelled(folder_.path("gue"));
  ASSERT_EQ(read.sequences.size(), 4U);
  EXPECT_EQ(read.labels, (Texts{"0", "1"}));
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"train:row1", "train"},
      {"train:row2", "train"},
      {"validation:row1", "validation"},
      {"t", "test"}};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(read.sequences[i].name, expected[i].first);
    EXPECT_EQ(read.sequences[i].split, expected[i].second);
  }
  const std::string list =
      "test=" + folder_.path("gue/dev.csv.gz") + ",train=" + folder_.path("gue/train.csv");
  EXPECT_EQ(read_labelled(list).sequences[2].split, "test");
  EXPECT_EQ(labelled_format(list), LabelledFormat::kCsv);

  folder_.write("gue/valid.csv", "sequence,label\nAT,1\n");
  EXPECT_CONTAINS(error_of([&] { read_labelled(folder_.path("gue")); }),
                  "two files for the split \"validation\"");
  std::filesystem::create_directory(folder_.path("empty"));
  EXPECT_CONTAINS(error_of([&] { read_labelled(folder_.path("empty")); }),
                  "names no training data");
  EXPECT_CONTAINS(error_of([&] { read_labelled("test=" + folder_.path("gue/train.csv")); }),
                  "names no training data");
  EXPECT_CONTAINS(error_of([&] { read_labelled("train=a,train=b"); }, ErrorKind::kUsage),
                  "names the split \"train\" twice");
  EXPECT_CONTAINS(error_of([&] { read_labelled("train=a,tset=b"); }, ErrorKind::kUsage),
                  "\"tset=b\" in \"train=a,tset=b\"");
  const std::string other = folder_.write("s.csv", "sequence,label,split\nAC,0,test\nAG,1,\n");
  EXPECT_CONTAINS(error_of([&] { read_labelled("train=" + other); }),
                  "line 2: the split \"test\" in a file that is given as train");
  const std::string paths = folder_.write("m.tsv", "path\tlabel\na.fa\tx\nb.fa\ty\n");
  EXPECT_CONTAINS(error_of([&] { read_labelled("train=" + paths); }, ErrorKind::kUsage),
                  "is a manifest of files");
}

TEST_F(LabelledTest, ColumnsThatAreMisspeltAreNamed) {
  EXPECT_CONTAINS(refusal("sequence,label,groups\nAC,x,1\nAG,y,2\n"),
                  "line 1: the column \"groups\" is unknown: is it \"group\"?");
  EXPECT_CONTAINS(manifest_refusal("path\tlabel\tspilt\na.fa\tx\ttrain\nb.fa\ty\ttest\n"),
                  "the column \"spilt\" is unknown: is it \"split\"?");
  EXPECT_EQ(table("sequence,label,groups,group\nAC,x,1,g\nAG,y,2,h\n").sequences[1].group, "h");
  EXPECT_CONTAINS(refusal("sequence,label,split\nAC,x,train\nAG,y,tset\n"),
                  "data, line 3: the split \"tset\" is none of");
}

TEST_F(LabelledTest, ReadsTaxids) {
  const Manifest read = manifest("path\tlabel\ttaxid\na.fa\tx\t562\nb.fa\ty\t\n");
  EXPECT_EQ(read.rows[0].taxid, 562);
  EXPECT_EQ(read.rows[1].taxid, 0);
  EXPECT_CONTAINS(manifest_refusal("path\tlabel\ttaxid\na.fa\tx\tcoli\nb.fa\ty\t\n"),
                  "line 2: the taxid \"coli\"");
}

TEST_F(LabelledTest, FieldsAreWrittenAsTheyAreRead) {
  for (const std::string text : {"plain", "a\tb", "\"quoted\"", "#sharp", "a \"b\" c", ""}) {
    ColumnTable read(file("name\tother\n" + table_field(text) + "\tx\n"));
    ASSERT_TRUE(read.next()) << text;
    EXPECT_EQ(read.value("name"), text);
    EXPECT_EQ(read.value("other"), "x");
  }
}

TEST_F(LabelledTest, RecognisesFormats) {
  EXPECT_EQ(labelled_format(file(">a x\nAC\n")), LabelledFormat::kFasta);
  EXPECT_EQ(labelled_format(file("label,sequence\n")), LabelledFormat::kCsv);
  EXPECT_EQ(labelled_format(file("path\tlabel\n")), LabelledFormat::kManifest);
  EXPECT_CONTAINS(error_of([&] { labelled_format(file("x,y\n1,2\n")); }), "columns found: x, y");
  error_of([&] { labelled_format("-"); }, ErrorKind::kUsage);
}

TEST(RequireEveryClass, NamesTheEmptyOne) {
  require_every_class({"a", "b"}, {1, 2}, "the data");
  EXPECT_CONTAINS(error_of([] {
                    require_every_class({"a", "b"}, {1, 0}, "the training split of x");
                  }),
                  "the class \"b\" has no sequences in the training split of x");
}

}  // namespace
}  // namespace strandwave
