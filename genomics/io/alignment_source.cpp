#include <htslib/cram.h>
#include <htslib/hfile.h>
#include <htslib/hts.h>
#include <htslib/hts_log.h>
#include <htslib/kstring.h>
#include <htslib/sam.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "genomics/io/alignment_regions.h"
#include "genomics/io/cram_reference.h"
#include "genomics/io/sequence_source.h"
#include "genomics/io/tokenizer.h"

namespace strandwave {
namespace {

// htslib prints its own messages unless told not to.
void quiet_htslib() {
  static std::once_flag once;
  std::call_once(once, [] { hts_set_log_level(HTS_LOG_OFF); });
}

struct CloseFile {
  void operator()(htsFile* file) const { hts_close(file); }
};
struct DestroyIndex {
  void operator()(hts_idx_t* index) const { hts_idx_destroy(index); }
};

std::shared_ptr<bam1_t> new_record() {
  std::shared_ptr<bam1_t> record(bam_init1(), bam_destroy1);
  if (!record) throw runtime_failure("out of memory for a record.");
  return record;
}

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
      : Source(in.path(), format), options_(options) {
    quiet_htslib();
    set_cram_reference_search(options_.allow_reference_download);
    const bool compressed_once = in.layers() == (format == SequenceFormat::kBam ? 1 : 0);
    seekable_ = in.regular_file() && path_ != "-" && compressed_once;
    if (seekable_) {
      file_.reset(hts_open(path_.c_str(), "r"));
    } else {
      open_pump(std::move(in));
    }
    if (!file_)
      throw input_error(display_path(path_) + " cannot be opened as " + to_string(format_) + ".");
    prepare_cram();
    header_.reset(sam_hdr_read(file_.get()), sam_hdr_destroy);
    if (!header_) {
      end_pump();
      throw input_error(display_path(path_) + " is truncated or damaged: its " +
                        to_string(format_) + " header cannot be read.");
    }
    forget_reference_paths();
    regions_ = std::make_unique<AlignmentRegions>(options_, header_.get(), display_path(path_));
    if (const auto note = regions_->note()) notes_.push_back(*note);
    if (regions_->any()) use_index();
  }

  bool next(SequenceRecord& record) override {
    while (read()) {
      const bam1_core_t& core = record_->core;
      RecordFate fate = RecordFate::kRead;
      if ((core.flag & options_.exclude_flags) != 0 ||
          (core.flag & options_.require_flags) != options_.require_flags) {
        fate = RecordFate::kFilteredByFlags;
      } else if (core.qual < options_.min_mapping_quality) {
        fate = RecordFate::kFilteredByQuality;
      } else if (core.l_qseq == 0) {
        fate = RecordFate::kWithoutSequence;
      }
      describe(record);
      if (fate == RecordFate::kRead) add_sequence(record);
      if (!deliver(record, fate, options_.deliver_all)) continue;
      if (options_.keep_alignments) record.alignment = std::exchange(record_, nullptr);
      return true;
    }
    return false;
  }

  std::shared_ptr<sam_hdr_t> alignment_header() const override {
    return {sam_hdr_dup(header_.get()), sam_hdr_destroy};
  }

  bool collated() const override {
    kstring_t value = KS_INITIALIZE;
    const auto is = [&](const char* key, const std::string& wanted) {
      return sam_hdr_find_tag_hd(header_.get(), key, &value) == 0 && wanted == ks_c_str(&value);
    };
    const bool collated = is("SO", "queryname") || is("GO", "query");
    ks_free(&value);
    return collated;
  }

  // Decodes no sequences, so that it needs no reference: to find out what a file asks for.
  void read_positions_only() {
    hts_set_opt(file_.get(), CRAM_OPT_REQUIRED_FIELDS, SAM_FLAG | SAM_RNAME | SAM_POS | SAM_CIGAR);
  }
  // The contig of the next record, -1 without one; nothing at the end or at damage.
  std::optional<int32_t> next_contig() {
    if (!record_) record_ = new_record();
    if (next_record() < 0) return std::nullopt;
    return record_->core.tid;
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
    iterator_.reset();
    file_.reset();
    if (pump_) pump_->finish();
  }

  void prepare_cram() {
    if (format_ != SequenceFormat::kCram) return;
    if (seekable_ && hts_check_EOF(file_.get()) == 0) {
      throw input_error(
          display_path(path_) +
          " is truncated: the CRAM end-of-file marker is missing. Copy or download it again.");
    }
    if (!options_.reference.empty())
      use_cram_reference(file_.get(), options_.reference, display_path(path_));
  }

  // A CRAM header may name a reference file (UR) that htslib would silently read. It looks at the
  // decoder's own header, not at the copy that sam_hdr_read gives.
  void forget_reference_paths() {
    if (format_ != SequenceFormat::kCram || options_.allow_reference_download) return;
    sam_hdr_t* header = cram_fd_get_header(file_->fp.cram);
    for (int i = 0; i < sam_hdr_nref(header); ++i) {
      sam_hdr_remove_tag_id(header, "SQ", "SN", sam_hdr_tid2name(header, i), "UR");
    }
  }

  // An index that is older than its file describes another one: then, as without any, the whole
  // file is read.
  void use_index() {
    namespace fs = std::filesystem;
    if (!seekable_ || format_ == SequenceFormat::kSam) return;
    const fs::path path(path_);
    for (const char* ending : {".bai", ".csi", ".crai"}) {
      for (const fs::path& index :
           {fs::path(path_ + ending), fs::path(path).replace_extension(ending)}) {
        std::error_code none;
        const auto written = fs::last_write_time(index, none);
        if (none) continue;
        if (written < fs::last_write_time(path)) {
          notes_.push_back(index.string() + " is older than " + path_ +
                           " and is not used: the whole file is read. Make it again with samtools "
                           "index.");
          return;
        }
        index_.reset(sam_index_load3(file_.get(), path_.c_str(), index.c_str(), 0));
        if (!index_)
          throw input_error(index.string() +
                            " is damaged: make it again with samtools index, or remove it.");
        iterator_ = regions_->iterate(index_.get(), header_.get());
        if (!iterator_)
          throw input_error(index.string() + " does not fit " + path_ +
                            ": make it again with samtools index, or remove it.");
        return;
      }
    }
  }

  int next_record() {
    for (;;) {
      const int status = iterator_ ? sam_itr_next(file_.get(), iterator_.get(), record_.get())
                                   : sam_read1(file_.get(), header_.get(), record_.get());
      if (status < 0 || !regions_->any() || regions_->contain(*record_)) return status;
    }
  }

  bool read() {
    if (!file_) return false;
    if (!record_) record_ = new_record();
    const int status = next_record();
    if (status >= 0) {
      ++counts_.records;
      last_contig_ = record_->core.tid;
      return true;
    }
    end_pump();
    if (status == -1) return false;
    ++counts_.records;
    if (const auto problem = reference_problem())
      throw input_error(where() + " cannot be decoded: " + *problem + ".");
    if (format_ == SequenceFormat::kSam && sam_hdr_nref(header_.get()) == 0)
      throw input_error(where() +
                        " cannot be read: it is truncated or damaged, or it names a contig and the "
                        "file has no @SQ lines; then add the header, for instance with samtools "
                        "view -ht REFERENCE.fai.");
    throw input_error(where() + " cannot be read: the " + to_string(format_) +
                      " data are truncated or damaged; get or make the file again.");
  }

  // What keeps a CRAM record from being decoded, if it is the reference. The record's contig is not
  // known then: the file is read again without its sequences up to there, or, where that cannot be
  // done, the contigs are looked at in order from the last one that was read.
  std::optional<std::string> reference_problem() {
    if (format_ != SequenceFormat::kCram) return std::nullopt;
    const auto problem = [&](int32_t contig) {
      return cram_reference_problem(header_.get(), contig, options_.reference);
    };
    if (seekable_) {
      AlignmentSource again(ByteReader(path_), format_, options_);
      again.read_positions_only();
      int32_t last = -1;
      constexpr int64_t kLookedAt = 100000;  // records of one slice may lie on many contigs
      for (int64_t i = 1; i < counts_.records + kLookedAt; ++i) {
        const std::optional<int32_t> contig = again.next_contig();
        if (!contig) break;
        if (i < counts_.records || *contig < 0 || *contig == last) continue;
        last = *contig;
        if (auto found = problem(last)) return found;
      }
      return std::nullopt;
    }
    for (int32_t contig = std::max(last_contig_, 0); contig < sam_hdr_nref(header_.get());
         ++contig) {
      if (auto found = problem(contig)) return found;
    }
    return std::nullopt;
  }

  void describe(SequenceRecord& record) const {
    record.name = bam_get_qname(record_.get());
    record.comment.clear();
    record.flags = record_->core.flag;
    record.mapping_quality = record_->core.qual;
    record.has_alignment = true;
    record.sequence.clear();
    record.qualities.clear();
    record.spool.reset();
    record.alignment.reset();
  }

  void add_sequence(SequenceRecord& record) const {
    const bam1_core_t& core = record_->core;
    const auto size = static_cast<size_t>(core.l_qseq);
    record.sequence.resize(size);
    const uint8_t* sequence = bam_get_seq(record_.get());
    for (size_t i = 0; i < size; ++i) {
      const char letter = seq_nt16_str[bam_seqi(sequence, i)];
      record.sequence[i] = letter == '=' ? 'N' : letter;
    }
    const uint8_t* qualities = bam_get_qual(record_.get());
    if (qualities[0] != 0xff) record.qualities.assign(qualities, qualities + size);
    if ((core.flag & BAM_FREVERSE) != 0) {
      dna::reverse_complement_letters(record.sequence);
      std::reverse(record.qualities.begin(), record.qualities.end());
    }
  }

  SequenceReaderOptions options_;
  bool seekable_ = false;       // htslib reads the file itself
  std::unique_ptr<Pump> pump_;  // outlives file_, whose end ends it
  std::unique_ptr<htsFile, CloseFile> file_;
  std::shared_ptr<sam_hdr_t> header_;
  std::unique_ptr<hts_idx_t, DestroyIndex> index_;
  std::unique_ptr<AlignmentRegions> regions_;
  AlignmentRegions::Iterator iterator_;
  std::shared_ptr<bam1_t> record_;
  int32_t last_contig_ = -1;
};

}  // namespace

std::optional<uint16_t> alignment_flags(const std::string& text) {
  const int flags = text.empty() ? -1 : bam_str2flag(text.c_str());
  if (flags < 0 || flags > UINT16_MAX) return std::nullopt;
  return static_cast<uint16_t>(flags);
}

std::unique_ptr<SequenceReader::Source> open_alignments(ByteReader in, SequenceFormat format,
                                                        const SequenceReaderOptions& options) {
  return std::make_unique<AlignmentSource>(std::move(in), format, options);
}

}  // namespace strandwave
