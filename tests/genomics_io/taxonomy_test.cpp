// Taxa of labels and Kraken's report.
#include "genomics/io/taxonomy.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "genomics/io/kraken_report.h"
#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

using test::error_of;

const std::vector<std::string> kLabels = {"ecoli", "k12", "saureus"};

class TaxonomyTest : public testing::Test {
 protected:
  TaxonomyTest() {
    const std::vector<std::vector<std::string>> rows = {
        {"1", "1", "no rank", "root"},
        {"131567", "1", "no rank", "cellular organisms"},
        {"2", "131567", "superkingdom", "Bacteria"},
        {"1224", "2", "phylum", "Pseudomonadota"},
        {"561", "1224", "genus", "Escherichia"},
        {"562", "561", "species", "Escherichia coli"},
        {"83333", "562", "strain", "Escherichia coli K-12"},
        {"1279", "2", "genus", "Staphylococcus"},
        {"1280", "1279", "species", "Staphylococcus aureus"},
        {"9606", "131567", "species", "Homo sapiens"}};
    std::string nodes, names;
    table_ = "taxid\tparent\trank\tname\tlabel\n";
    for (const auto& row : rows) {
      nodes += row[0] + "\t|\t" + row[1] + "\t|\t" + row[2] + "\t|\t\t|\n";
      names += row[0] + "\t|\t" + row[3] + "\t|\t\t|\tscientific name\t|\n";
      names += row[0] + "\t|\tanother " + row[3] + "\t|\t\t|\tsynonym\t|\n";
      table_ += row[0] + "\t" + (row[0] == "1" ? "." : row[1]) + "\t" + row[2] + "\t" + row[3] +
                "\t" +
                (row[0] == "562"     ? "ecoli"
                 : row[0] == "1280"  ? "saureus"
                 : row[0] == "83333" ? "k12"
                                     : ".") +
                "\n";
    }
    std::filesystem::create_directory(folder_.path("dump"));
    folder_.write("dump/nodes.dmp", nodes);
    folder_.write("dump/names.dmp", names);
    table_path_ = folder_.write("taxonomy.tsv", table_);
  }

  test::TemporaryFolder folder_;
  std::string table_, table_path_;
};

constexpr const char* kReport =
    "  8.33\t1\t1\tU\t0\tunclassified\n"
    " 91.67\t11\t0\tR\t1\troot\n"
    " 91.67\t11\t0\tR1\t131567\t  cellular organisms\n"
    " 91.67\t11\t0\tD\t2\t    Bacteria\n"
    " 66.67\t8\t0\tP\t1224\t      Pseudomonadota\n"
    " 66.67\t8\t0\tG\t561\t        Escherichia\n"
    " 66.67\t8\t6\tS\t562\t          Escherichia coli\n"
    " 16.67\t2\t2\tS1\t83333\t            Escherichia coli K-12\n"
    " 25.00\t3\t0\tG\t1279\t      Staphylococcus\n"
    " 25.00\t3\t3\tS\t1280\t        Staphylococcus aureus\n";

TEST_F(TaxonomyTest, ReportFromATable) {
  const Taxonomy taxonomy = Taxonomy::read(table_path_, kLabels, {});
  EXPECT_EQ(taxonomy.label_taxids(), (std::vector<int64_t>{562, 83333, 1280}));
  EXPECT_EQ(taxonomy.taxa().count(9606), 0U);  // nothing that no label needs
  const std::vector<int64_t> reads = {6, 2, 3};
  EXPECT_EQ(kraken_report(taxonomy, reads, 1), kReport);
}

TEST_F(TaxonomyTest, ReportFromNcbisFiles) {
  const std::string folder = folder_.path("dump");
  const Taxonomy given =
      Taxonomy::read(folder, kLabels, {{"ecoli", 562}, {"k12", 83333}, {"saureus", 1280}});
  const std::vector<int64_t> reads = {6, 2, 3};
  EXPECT_EQ(kraken_report(given, reads, 1), kReport);
  // Labels that are names or numbers need no table.
  const Taxonomy named =
      Taxonomy::read(folder, {"Escherichia_coli", "83333", "Staphylococcus aureus"}, {});
  EXPECT_EQ(kraken_report(named, reads, 1), kReport);
  EXPECT_EQ(kraken_report(named, std::vector<int64_t>{0, 0, 0}, 0),
            "  0.00\t0\t0\tU\t0\tunclassified\n");
}

TEST_F(TaxonomyTest, StoredTaxidsComeAfterThoseThatAreGiven) {
  const std::map<std::string, int64_t> stored = {{"ecoli", 83333}, {"x", 1279}};
  const auto taxids = [&](const std::string& path, const std::string& label,
                          const std::map<std::string, int64_t>& given) {
    return Taxonomy::read(path, {label}, given, stored).label_taxids()[0];
  };
  EXPECT_EQ(taxids(table_path_, "ecoli", {}), 562);  // the row says so
  EXPECT_EQ(taxids(table_path_, "x", {}), 1279);
  EXPECT_EQ(taxids(folder_.path("dump"), "ecoli", {}), 83333);
  EXPECT_EQ(taxids(folder_.path("dump"), "ecoli", {{"ecoli", 561}}), 561);
}

TEST_F(TaxonomyTest, ATopTaxonHangsBelowTheRoot) {
  const std::string path =
      folder_.write("t.tsv", "label\ttaxid\tparent\trank\tname\nx\t5\t\tspecies\tX x\n");
  EXPECT_EQ(kraken_report(Taxonomy::read(path, {"x"}, {}), std::vector<int64_t>{4}, 0),
            "  0.00\t0\t0\tU\t0\tunclassified\n100.00\t4\t0\tR\t1\troot\n"
            "100.00\t4\t4\tS\t5\t  X x\n");
}

TEST_F(TaxonomyTest, SaysWhatIsWrong) {
  const auto refusal = [&](const std::string& text) {
    const std::string path = folder_.write("bad.tsv", text);
    return error_of([&] { Taxonomy::read(path, {"a"}, {}); });
  };
  EXPECT_CONTAINS(refusal("taxid\tparent\trank\n"),
                  "bad.tsv, line 1: the taxonomy has no column \"name\"");
  const std::string header = "label\ttaxid\tparent\trank\tname\n";
  EXPECT_CONTAINS(refusal(header + "a\tx\t1\tspecies\tA\n"), "line 2: \"x\" is no taxid");
  EXPECT_CONTAINS(refusal(header + "a\t7\t5\tspecies\tA\n"),
                  "has no taxid 5, which label \"a\" belongs to");
  EXPECT_CONTAINS(refusal(header + "b\t7\t1\tspecies\tA\n"), "label \"a\" has no taxid in ");
  EXPECT_CONTAINS(refusal(header + "a\t7\t8\tspecies\tA\n.\t8\t7\tgenus\tB\n"), "in a circle");
  EXPECT_CONTAINS(refusal(header + "a\t7\n"), "line 2: 2 columns, not 5");
  EXPECT_CONTAINS(error_of([&] { Taxonomy::read(folder_.path("dump"), kLabels, {}); }),
                  "label \"ecoli\" has no taxid in ");
  EXPECT_CONTAINS(error_of([&] {
                    Taxonomy::read(folder_.path("dump"), {"a"}, {{"a", 77}});
                  }),
                  "nodes.dmp has no taxid 77, which label \"a\" is.");
}

TEST_F(TaxonomyTest, Taxids) {
  const std::string path = folder_.write("ids.tsv", "label\ttaxid\n# x\necoli\t562\nk12\t83333\n");
  const auto taxids = read_taxids(path);
  EXPECT_EQ(taxids_of_labels({"k12", "9606", "ecoli"}, taxids),
            (std::vector<int64_t>{83333, 9606, 562}));
  EXPECT_CONTAINS(error_of([&] { taxids_of_labels({"0"}, taxids); }, ErrorKind::kUsage),
                  "label \"0\" has no taxid");
  // Beside a model.
  EXPECT_EQ(parse_taxids(taxids_text(taxids), "x"), taxids);
  EXPECT_CONTAINS(error_of([&] { parse_taxids("a\tb\tc\n", "m/taxids.tsv"); }),
                  "m/taxids.tsv, line 1: 3 columns");
  folder_.write("ids.tsv", "a\t1\na\t2\n");
  EXPECT_CONTAINS(error_of([&] { read_taxids(path); }), "ids.tsv, line 2: the label \"a\" occurs");
  folder_.write("ids.tsv", "a 1\n");
  EXPECT_CONTAINS(error_of([&] { read_taxids(path); }), "line 1: 1 columns");
}

}  // namespace
}  // namespace strandwave
