#include <htslib/cram.h>
#include <htslib/hfile.h>
#include <htslib/hts.h>
#include <htslib/hts_log.h>
#include <htslib/sam.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <mutex>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "genomics/io/sequence_source.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

// htslib prints its own messages and looks for CRAM references on the network unless told not to.
void quiet_htslib() {
  static std::once_flag once;
  std::call_once(once, [] {
    hts_set_log_level(HTS_LOG_OFF);
    ::setenv("REF_PATH", "/dev/null", 0);  // a user's own setting stays
  });
}

struct CloseFile {
  void operator()(htsFile* file) const { hts_close(file); }
};
struct DestroyHeader {
  void operator()(sam_hdr_t* header) const { sam_hdr_destroy(header); }
};
struct DestroyRecord {
  void operator()(bam1_t* record) const { bam_destroy1(record); }
};

// Copies a ByteReader into a socket from a thread of its own, for htslib to read what is no plain
// file.
class Pump {
 public:
  explicit Pump(ByteReader in) : in_(std::move(in)) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      throw runtime_failure(std::string("cannot open a socket pair: ") + std::strerror(errno) +
                            ".");
    }
    reading_end_ = ends[0];
    writing_end_ = ends[1];
    thread_ = std::thread([this] { run(); });
  }
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;
  // The owner of the reading end has closed it.
  ~Pump() {
    if (thread_.joinable()) thread_.join();
  }

  int reading_end() const { return reading_end_; }
  // Waits for the end; throws what reading threw.
  void finish() {
    if (thread_.joinable()) thread_.join();
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  void run() {
    try {
      for (std::string_view bytes = in_.chunk(); !bytes.empty(); bytes = in_.chunk()) {
        const ssize_t sent = ::send(writing_end_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) break;  // the other end wants no more
        in_.consume(static_cast<size_t>(sent));
      }
    } catch (...) {
      failure_ = std::current_exception();
    }
    ::close(writing_end_);
  }

  ByteReader in_;
  int reading_end_ = -1;
  int writing_end_ = -1;
  std::exception_ptr failure_;
  std::thread thread_;
};

class AlignmentSource : public SequenceReader::Source {
 public:
  AlignmentSource(ByteReader in, SequenceFormat format, const SequenceReaderOptions& options)
      : Source(in.path(), format), options_(options), record_(bam_init1()) {
    quiet_htslib();
    const bool compressed_once = in.layers() == (format == SequenceFormat::kBam ? 1 : 0);
    if (in.regular_file() && path_ != "-" && compressed_once) {
      file_.reset(hts_open(path_.c_str(), "r"));
    } else {
      open_pump(std::move(in));
    }
    if (!file_)
      throw input_error(display_path(path_) + " cannot be opened as " + to_string(format_) + ".");
    prepare_cram();
    header_.reset(sam_hdr_read(file_.get()));
    if (!header_) {
      end_pump();
      throw input_error(display_path(path_) + " is truncated or damaged: its " +
                        to_string(format_) + " header cannot be read.");
    }
    forget_reference_paths();
  }

  bool next(SequenceRecord& record) override {
    while (read()) {
      const bam1_core_t& core = record_->core;
      if ((core.flag & options_.exclude_flags) != 0 ||
          (core.flag & options_.require_flags) != options_.require_flags) {
        ++counts_.filtered_flags;
      } else if (core.qual < options_.min_mapping_quality) {
        ++counts_.filtered_quality;
      } else if (core.l_qseq == 0) {
        ++counts_.without_sequence;
      } else {
        convert(record);
        deliver(record);
        return true;
      }
    }
    return false;
  }

 private:
  void open_pump(ByteReader in) {
    pump_ = std::make_unique<Pump>(std::move(in));
    hFILE* stream = hdopen(pump_->reading_end(), "r");
    if (stream == nullptr) {
      ::close(pump_->reading_end());
      throw runtime_failure("htslib cannot open a stream.");
    }
    file_.reset(hts_hopen(stream, path_.c_str(), "r"));
    if (!file_) {
      hclose_abruptly(stream);
      pump_->finish();
    }
  }

  // Throws what kept the pump from delivering everything.
  void end_pump() {
    file_.reset();
    if (pump_) pump_->finish();
  }

  void prepare_cram() {
    if (format_ != SequenceFormat::kCram) return;
    if (!pump_ && hts_check_EOF(file_.get()) == 0) {
      throw input_error(
          display_path(path_) +
          " is truncated: the CRAM end-of-file marker is missing. Copy or download it again.");
    }
    if (options_.reference.empty()) return;
    if (!std::filesystem::exists(options_.reference)) {
      throw input_error("reference " + options_.reference + " does not exist.");
    }
    // htslib would write a missing index beside the reference.
    if (!std::filesystem::exists(options_.reference + ".fai")) {
      throw input_error("reference " + options_.reference + " has no index; run: samtools faidx " +
                        options_.reference);
    }
    if (hts_set_opt(file_.get(), CRAM_OPT_REFERENCE, options_.reference.c_str()) != 0) {
      throw input_error("reference " + options_.reference + " cannot be used for " +
                        display_path(path_) + ".");
    }
  }

  // A CRAM header may name a reference file (UR) that htslib would silently read. It looks at the
  // decoder's own header, not at the copy that sam_hdr_read gives.
  void forget_reference_paths() {
    if (format_ != SequenceFormat::kCram) return;
    sam_hdr_t* header = cram_fd_get_header(file_->fp.cram);
    for (int i = 0; i < sam_hdr_nref(header); ++i) {
      sam_hdr_remove_tag_id(header, "SQ", "SN", sam_hdr_tid2name(header, i), "UR");
    }
  }

  bool read() {
    if (!file_) return false;
    const int status = sam_read1(file_.get(), header_.get(), record_.get());
    if (status >= 0) {
      ++counts_.records;
      return true;
    }
    end_pump();
    if (status == -1) return false;
    ++counts_.records;
    std::string message =
        where() + " cannot be read: the " + to_string(format_) + " data are truncated or damaged.";
    if (format_ == SequenceFormat::kCram) {
      message = where() + " cannot be decoded: " +
                (options_.reference.empty()
                     ? "CRAM needs its reference (--reference FASTA), or the data are damaged."
                     : "the reference is not that of the file, or the data are damaged.");
    }
    throw input_error(message);
  }

  void convert(SequenceRecord& record) const {
    const bam1_core_t& core = record_->core;
    const auto size = static_cast<size_t>(core.l_qseq);
    record.name = bam_get_qname(record_.get());
    record.comment.clear();
    record.flags = core.flag;
    record.mapping_quality = core.qual;
    record.has_alignment = true;
    record.sequence.resize(size);
    const uint8_t* sequence = bam_get_seq(record_.get());
    for (size_t i = 0; i < size; ++i) {
      const char letter = seq_nt16_str[bam_seqi(sequence, i)];
      record.sequence[i] = letter == '=' ? 'N' : letter;
    }
    const uint8_t* qualities = bam_get_qual(record_.get());
    if (qualities[0] == 0xff) {
      record.qualities.clear();
    } else {
      record.qualities.assign(qualities, qualities + size);
    }
    if ((core.flag & BAM_FREVERSE) != 0) {
      dna::reverse_complement_letters(record.sequence);
      std::reverse(record.qualities.begin(), record.qualities.end());
    }
  }

  SequenceReaderOptions options_;
  std::unique_ptr<Pump> pump_;  // outlives file_, whose end ends it
  std::unique_ptr<htsFile, CloseFile> file_;
  std::unique_ptr<sam_hdr_t, DestroyHeader> header_;
  std::unique_ptr<bam1_t, DestroyRecord> record_;
};

}  // namespace

std::unique_ptr<SequenceReader::Source> open_alignments(ByteReader in, SequenceFormat format,
                                                        const SequenceReaderOptions& options) {
  return std::make_unique<AlignmentSource>(std::move(in), format, options);
}

}  // namespace strandwave
