#include <htslib/hfile.h>
#include <htslib/hts.h>
#include <htslib/sam.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "genomics/io/byte_reader.h"
#include "genomics/io/cram_reference.h"
#include "genomics/io/read_writer.h"

namespace strandwave {
namespace {

struct CloseFile {
  void operator()(htsFile* file) const { hts_close(file); }
};
struct DestroyHeader {
  void operator()(sam_hdr_t* header) const { sam_hdr_destroy(header); }
};
struct DestroyRecord {
  void operator()(bam1_t* record) const { bam_destroy1(record); }
};

constexpr char kLabelTag[] = "sl";
constexpr char kProbabilityTag[] = "sp";
constexpr char kOutOfDistributionTag[] = "so";
constexpr char kBasesReadTag[] = "sb";

class AlignmentWriter : public ReadWriter {
 public:
  explicit AlignmentWriter(const ReadWriterOptions& options)
      : options_(options), unaligned_(bam_init1()) {
    if (options.path != "-") atomic_ = std::make_unique<AtomicFile>(options.path);
  }

  void begin(const std::string& path, SequenceFormat format, sam_hdr_t* header) override {
    if (file_) {
      if (header == nullptr && !from_alignments_) return;
      throw usage_error(display_path(path) + " is a second input, and one of them holds " +
                        "alignments: BAM and CRAM are written for one file of alignments at a "
                        "time. Join them first with samtools cat or merge");
    }
    from_alignments_ = is_alignment(format);
    header_.reset(header != nullptr ? sam_hdr_dup(header) : sam_hdr_init());
    if (header == nullptr)
      check(sam_hdr_add_line(header_.get(), "HD", "VN", "1.6", "SO", "unsorted", nullptr));
    if (options_.provenance) add_program();
    open();
    check(sam_hdr_write(file_.get(), header_.get()));
  }

  void write(const SequenceRecord& record, const ReadCall& call) override {
    errno = 0;  // an old error must not be told for a new one
    bam1_t* alignment = record.alignment.get();
    if (alignment == nullptr) {
      set_unaligned(record);
      alignment = unaligned_.get();
    }
    set_tags(alignment, call);
    check(sam_write1(file_.get(), header_.get(), alignment));
  }

  void flush() override {
    if (file_) check(hts_flush(file_.get()));
  }

  void finish() override {
    if (!file_) begin(options_.path, SequenceFormat::kFasta, nullptr);
    check(hts_close(file_.release()));
    if (atomic_) atomic_->commit();
  }

 private:
  void add_program() {
    std::string command = options_.command;
    std::replace_if(
        command.begin(), command.end(), [](char c) { return c == '\t' || c == '\n'; }, ' ');
    check(sam_hdr_add_pg(header_.get(), "strandwave", "VN", options_.version.c_str(), "CL",
                         command.c_str(), "DS", ("model " + options_.model_hash).c_str(), nullptr));
  }

  void open() {
    const int descriptor = ::dup(atomic_ ? atomic_->descriptor() : STDOUT_FILENO);
    hFILE* stream = descriptor < 0 ? nullptr : hdopen(descriptor, "w");
    if (stream == nullptr) fail();
    file_.reset(hts_hopen(stream, options_.path.c_str(), options_.cram ? "wc" : "wb"));
    if (!file_) {
      hclose_abruptly(stream);
      fail();
    }
    if (!options_.cram) return;
    if (!options_.reference.empty())
      use_cram_reference(file_.get(), options_.reference, display_path(options_.path));
    else if (sam_hdr_nref(header_.get()) == 0)
      check(hts_set_opt(file_.get(), CRAM_OPT_NO_REF, 1));
  }

  void set_unaligned(const SequenceRecord& record) {
    std::string held;
    if (record.spool) {
      held.resize(static_cast<size_t>(record.length()));
      record.spool->read(0, held);
    }
    const std::string& letters = record.spool ? held : record.sequence;
    const uint16_t flags = record.flags != 0 ? record.flags : BAM_FUNMAP;
    const std::string_view name =
        (flags & BAM_FPAIRED) != 0 ? pair_name(record.name) : std::string_view(record.name);
    check(bam_set1(unaligned_.get(), name.size(), name.data(), flags, -1, -1, 0, 0, nullptr, -1, -1,
                   0, letters.size(), letters.c_str(),
                   record.qualities.empty() ? nullptr : record.qualities.data(), 64));
  }

  // A record that was labelled before loses what it was told then.
  void set_tags(bam1_t* alignment, const ReadCall& call) {
    for (const char* tag : {kLabelTag, kProbabilityTag, kOutOfDistributionTag, kBasesReadTag}) {
      if (uint8_t* old = bam_aux_get(alignment, tag)) check(bam_aux_del(alignment, old));
    }
    if (!call.has_prediction()) return;
    const std::string label = label_text(call, options_);
    check(bam_aux_append(alignment, kLabelTag, 'Z', static_cast<int>(label.size()) + 1,
                         reinterpret_cast<const uint8_t*>(label.c_str())));
    append_float(alignment, kProbabilityTag, call.probability());
    if (!std::isnan(call.out_of_distribution))
      append_float(alignment, kOutOfDistributionTag, call.out_of_distribution);
    if (options_.bases_read) check(bam_aux_update_int(alignment, kBasesReadTag, call.bases_read));
  }
  void append_float(bam1_t* alignment, const char* tag, float value) {
    uint8_t bytes[sizeof value];  // BAM is little-endian, and so are the machines we build for
    std::memcpy(bytes, &value, sizeof value);
    check(bam_aux_append(alignment, tag, 'f', sizeof value, bytes));
  }

  void check(ssize_t status) const {
    if (status < 0) fail();
  }
  [[noreturn]] void fail() const {
    const std::string name = options_.path == "-" ? std::string("standard output") : options_.path;
    std::string reason = errno != 0 ? std::strerror(errno) : "htslib refuses the data";
    if (options_.cram && errno == 0) reason += "; does the reference (--reference) fit the file?";
    throw runtime_failure("cannot write " + name + ": " + reason);
  }

  ReadWriterOptions options_;
  std::unique_ptr<AtomicFile> atomic_;
  std::unique_ptr<sam_hdr_t, DestroyHeader> header_;
  std::unique_ptr<bam1_t, DestroyRecord> unaligned_;
  std::unique_ptr<htsFile, CloseFile> file_;  // after header_, which it uses until it is closed
  bool from_alignments_ = false;
};

}  // namespace

std::unique_ptr<ReadWriter> open_alignment_writer(const ReadWriterOptions& options) {
  return std::make_unique<AlignmentWriter>(options);
}

}  // namespace strandwave
