// Where CRAM's references come from, and that nothing else is asked.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <htslib/hts.h>
#include <htslib/sam.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include "genomics/io/sequence_reader.h"
#include "tests/genomics_io/test_files.h"

namespace strandwave {
namespace {

using test::error_of;

std::string md5(const std::string& letters) {
  hts_md5_context* context = hts_md5_init();
  hts_md5_update(context, letters.data(), letters.size());
  unsigned char digest[16];
  char hex[33];
  hts_md5_final(digest, context);
  hts_md5_hex(hex, digest);
  hts_md5_destroy(context);
  return hex;
}

// A web server that only notes that somebody came.
class Listener {
 public:
  Listener() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(socket_, 5), 0);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~Listener() { ::close(socket_); }
  std::string address() const { return "http://127.0.0.1:" + std::to_string(port_) + "/%s"; }
  bool was_asked(int milliseconds = 200) const {
    pollfd waiting{socket_, POLLIN, 0};
    return ::poll(&waiting, 1, milliseconds) > 0;
  }

 private:
  int socket_;
  int port_ = 0;
};

// htslib's search path is read once per process, so each environment is a test program of its own:
// the child of a fork.
class CramReferenceTest : public testing::Test {
 protected:
  CramReferenceTest() {
    std::mt19937_64 random(5);
    letters_[0] = test::random_letters(3000, random);
    letters_[1] = test::random_letters(3000, random);
    reference_ = write_reference("ref.fa", letters_[0], letters_[1]);
    std::string sam = "@HD\tVN:1.6\tSO:coordinate\n";
    for (int c = 0; c < 2; ++c)
      sam += "@SQ\tSN:c" + std::to_string(c) + "\tLN:3000\tM5:" + md5(letters_[c]) +
             "\tUR:" + reference_ + "\n";
    for (int c = 0; c < 2; ++c) {
      for (size_t i = 0; i + 50 < 3000; ++i)
        sam += "r\t0\tc" + std::to_string(c) + "\t" + std::to_string(i + 1) +
               "\t60\t50M\t*\t0\t0\t" + letters_[c].substr(i, 50) + "\t*\n";
    }
    cram_ = test::convert_sam(folder_, sam, "x.cram", "wc", reference_);
  }

  std::string write_reference(const std::string& name, const std::string& c0,
                              const std::string& c1) {
    folder_.write(name + ".fai",
                  "c0\t" + std::to_string(c0.size()) + "\t4\t" + std::to_string(c0.size()) + "\t" +
                      std::to_string(c0.size() + 1) + "\nc1\t" + std::to_string(c1.size()) + "\t" +
                      std::to_string(c0.size() + 9) + "\t" + std::to_string(c1.size()) + "\t" +
                      std::to_string(c1.size() + 1) + "\n");
    return folder_.write(name, ">c0\n" + c0 + "\n>c1\n" + c1 + "\n");
  }

  // What reading says in a process with this environment: "ok 5900", or the error.
  std::string read_with(const std::string& ref_path, const std::string& ref_cache,
                        const SequenceReaderOptions& options) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      for (int other = 3; other < 256; ++other)
        if (other != ends[1]) ::close(other);  // among them the Listener's
      ::setenv("HOME", folder_.path("home").c_str(), 1);
      ::unsetenv("XDG_CACHE_HOME");
      ref_path.empty() ? ::unsetenv("REF_PATH") : ::setenv("REF_PATH", ref_path.c_str(), 1);
      ref_cache.empty() ? ::unsetenv("REF_CACHE") : ::setenv("REF_CACHE", ref_cache.c_str(), 1);
      std::string text;
      try {
        SequenceReader reader(cram_, options);
        SequenceRecord record;
        while (reader.next(record)) {
        }
        text = "ok " + std::to_string(reader.counts().delivered);
      } catch (const std::exception& error) {
        text = error.what();
      }
      (void)!::write(ends[1], text.data(), text.size());
      ::_exit(0);
    }
    ::close(ends[1]);
    std::string text(4096, '\0');
    size_t size = 0;
    for (ssize_t got; (got = ::read(ends[0], text.data() + size, text.size() - size)) > 0;)
      size += static_cast<size_t>(got);
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    text.resize(size);
    return text;
  }

  test::TemporaryFolder folder_;
  std::string letters_[2];
  std::string reference_, cram_;
};

TEST_F(CramReferenceTest, GivenFasta) {
  SequenceReaderOptions options;
  options.reference = reference_;
  EXPECT_EQ(read_with("", "", options), "ok 5900");
}

TEST_F(CramReferenceTest, LocalCacheAndPath) {
  for (const std::string& letters : letters_) folder_.write(md5(letters), letters);
  const std::string pattern = folder_.path("%s");
  EXPECT_EQ(read_with("", pattern, {}), "ok 5900");
  EXPECT_EQ(read_with(pattern, "", {}), "ok 5900");
  const Listener listener;
  EXPECT_EQ(read_with(listener.address() + ":" + pattern, "", {}), "ok 5900");
  EXPECT_FALSE(listener.was_asked());
  // What samtools has fetched before.
  for (const std::string& letters : letters_) {
    const std::string name = md5(letters);
    std::filesystem::create_directories(
        folder_.path("home/.cache/hts-ref/" + name.substr(0, 2) + "/" + name.substr(2, 2)));
    folder_.write(
        "home/.cache/hts-ref/" + name.substr(0, 2) + "/" + name.substr(2, 2) + "/" + name.substr(4),
        letters);
  }
  EXPECT_EQ(read_with("", "", {}), "ok 5900");
}

TEST_F(CramReferenceTest, MissingReferencesAreNamedAndNobodyIsAsked) {
  const Listener listener;
  for (const std::string& path : {std::string(), listener.address(), "URL=" + listener.address()}) {
    // Although the header's UR names a FASTA that is there.
    EXPECT_CONTAINS(read_with(path, "", {}), "x.cram, record 1 cannot be decoded: contig c0 (M5 " +
                                                 md5(letters_[0]) + ") has no reference");
  }
  EXPECT_FALSE(listener.was_asked());
  SequenceReaderOptions options;
  options.allow_reference_download = true;
  EXPECT_EQ(read_with("/dev/null", "", options), "ok 5900");  // through UR
  std::filesystem::remove(reference_);
  EXPECT_CONTAINS(read_with(listener.address(), "", {}), "contig c0 (M5 ");
  EXPECT_FALSE(listener.was_asked());
}

TEST_F(CramReferenceTest, AddressesAreAskedWhenThatIsAllowed) {
  if ((hts_features() & HTS_FEATURE_LIBCURL) == 0) GTEST_SKIP() << "htslib knows no addresses";
  std::filesystem::remove(reference_);
  SequenceReaderOptions options;
  options.allow_reference_download = true;
  auto listener = std::make_unique<Listener>();
  std::string message;
  std::thread reading([&] { message = read_with(listener->address(), "", options); });
  EXPECT_TRUE(listener->was_asked(20000));
  listener.reset();  // hangs up
  reading.join();
  EXPECT_CONTAINS(message, "contig c0 (M5 ");
}

TEST_F(CramReferenceTest, TheSecondContigIsNamedWhenOnlyItIsMissing) {
  folder_.write(md5(letters_[0]), letters_[0]);
  const std::string message = read_with(folder_.path("%s"), "", {});
  EXPECT_CONTAINS(message, "contig c1 (M5 " + md5(letters_[1]) + ") has no reference");
  EXPECT_CONTAINS(message, "record 2951 ");
}

TEST_F(CramReferenceTest, AnotherReferenceIsNamedWithBothMd5) {
  SequenceReaderOptions options;
  std::string changed = letters_[1];
  changed[1500] = changed[1500] == 'A' ? 'C' : 'A';
  options.reference = write_reference("changed.fa", letters_[0], changed);
  const std::string message = read_with("", "", options);
  EXPECT_CONTAINS(message, "contig c1 (M5 " + md5(letters_[1]) + ") has the MD5 " + md5(changed) +
                               " in " + options.reference);
  const std::string other = folder_.write("other.fa", ">x\nACGT\n");
  folder_.write("other.fa.fai", "x\t4\t3\t4\t5\n");
  options.reference = other;
  EXPECT_CONTAINS(
      read_with("", "", options),
      ") has no reference: it is not in " + other +
          "; put it where REF_CACHE or REF_PATH finds it, or give --allow-ref-download.");
  options.reference = write_reference("short.fa", letters_[0], letters_[1].substr(0, 100));
  EXPECT_CONTAINS(read_with("", "", options), "contig c1 (M5 ");
}

}  // namespace
}  // namespace strandwave
