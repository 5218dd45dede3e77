#include "genomics/classify_reads.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <unordered_map>
#include <utility>

#include "core/base/error.h"
#include "core/base/signals.h"
#include "genomics/io/byte_reader.h"
#include "genomics/io/tokenizer.h"
#include "genomics/long_sequence.h"
#include "genomics/record_stream.h"

namespace strandwave {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostReads = 8192;       // of a batch
constexpr int64_t kMostOthers = 1024;     // records without a prediction held behind a batch
constexpr int64_t kSpoolAbove = 1 << 20;  // letters of a FASTA record held in memory
constexpr int64_t kPiece = 1 << 16;       // of a spooled record

// One of two records that were read from one molecule and of which each comes once.
bool has_mate(const SequenceRecord& record) {
  const bool primary = (record.flags & (kSecondaryFlag | kSupplementaryFlag)) == 0;
  const bool first = (record.flags & kFirstMateFlag) != 0;
  const bool last = (record.flags & kLastMateFlag) != 0;
  return primary && (record.flags & kPairedFlag) != 0 && first != last;
}

std::string pair_key(const SequenceRecord& record) {
  return std::string(record.has_alignment ? std::string_view(record.name) : pair_name(record.name));
}

class Pipeline {
 public:
  Pipeline(const ClassifyReadsOptions& options, const SequenceClassifier& classifier,
           const PrefixClassifier* prefix, ReadWriter& writer,
           const std::function<void(const ClassifyReadsCounts&)>& progress,
           const std::function<void(const std::string&)>& note)
      : options_(options),
        classifier_(classifier),
        prefix_(prefix),
        writer_(writer),
        progress_(progress),
        note_(note),
        long_sequence_(classifier),
        batch_bases_(4 * classifier.options().batch_bases) {
    counts_.per_label.resize(classifier.labels().size());
    if (prefix != nullptr) counts_.decided_at.resize(prefix->options().lengths.size());
  }

  ClassifyReadsCounts run() {
    RecordStreamOptions streamed;
    streamed.inputs = options_.inputs;
    streamed.reader = options_.reader;
    streamed.reader.deliver_all = true;
    streamed.reader.keep_alignments = true;
    streamed.reader.spool_above = kSpoolAbove;
    streamed.paired = options_.paired;
    RecordStream stream(std::move(streamed));
    StreamItem item;
    for (;;) {
      const RecordStream::Got got = stream.next(item, deadline());
      if (got == RecordStream::Got::kEnd) break;
      if (got == RecordStream::Got::kTimeout) {
        predict();
        writer_.flush();
      } else if (item.kind == StreamItem::Kind::kRecord) {
        add(std::move(item.record));
      } else if (item.kind == StreamItem::Kind::kFile) {
        begin_file(item);
      } else {
        counts_.records += item.records;
        stop_waiting();  // mates do not lie in different files of alignments
      }
    }
    predict();
    if (counts_.sum() != counts_.records)
      throw std::logic_error("records were lost or counted twice");
    writer_.finish();
    return counts_;
  }

 private:
  // A record that has been read but not yet written.
  struct Entry {
    SequenceRecord record;
    Prediction prediction;
    int64_t bases_read = 0;
    int64_t judged_bases = 0;  // the length that the score's threshold is for
    int64_t mate = -1;         // number of the other read of a pair
    std::optional<PairCall> pair;
    bool predicts = false;  // it is to be classified
    bool predicted = false;
    bool combined = false;  // with its mate
    bool waiting = false;   // for its mate to be read
  };

  std::optional<Clock::time_point> deadline() const {
    if (options_.flush_seconds <= 0 || batch_.empty()) return std::nullopt;
    return batch_begun_ + std::chrono::duration_cast<Clock::duration>(
                              std::chrono::duration<double>(options_.flush_seconds));
  }

  Entry& entry(int64_t number) { return window_[static_cast<size_t>(number - written_)]; }

  void begin_file(const StreamItem& item) {
    collated_ = item.collated;
    file_ = display_path(item.path);
    if (note_) std::for_each(item.notes.begin(), item.notes.end(), note_);
    note_idle_filters(item.format);
    writer_.begin(item.path, item.format, item.header.get());
  }

  void note_idle_filters(SequenceFormat format) {
    const SequenceReaderOptions usual, &given = options_.reader;
    const bool filters = given.min_mapping_quality != usual.min_mapping_quality ||
                         given.exclude_flags != usual.exclude_flags ||
                         given.require_flags != usual.require_flags;
    if (!note_ || !filters || is_alignment(format) || std::exchange(idle_filters_noted_, true))
      return;
    note_(file_ + " is " + to_string(format) +
          ": -q, -f and -F select alignments and have no effect on FASTA and FASTQ");
  }

  void add(SequenceRecord record) {
    const int64_t number = written_ + static_cast<int64_t>(window_.size());
    window_.emplace_back();
    Entry& added = window_.back();
    added.record = std::move(record);
    const SequenceRecord& read = added.record;
    added.predicts = read.fate == RecordFate::kRead && read.length() >= options_.min_length;
    if (options_.paired) {
      require_mates_before(number);
      find_mate(number);
    }
    if (!added.predicts) {
      if (++others_ >= kMostOthers) predict();
    } else if (read.spool && prefix_ == nullptr) {
      predict();
      predict_long(entry(number));
    } else {
      add_to_batch(number);
    }
    if (batch_.empty()) write_ready();
  }

  void add_to_batch(int64_t number) {
    if (batch_.empty()) batch_begun_ = Clock::now();
    batch_.push_back(number);
    ids_.push_back(encode(entry(number).record));
    batch_now_ += static_cast<int64_t>(ids_.back().size());
    const bool late = options_.flush_seconds > 0 && Clock::now() >= *deadline();
    if (batch_now_ >= batch_bases_ || batch_.size() >= kMostReads || late) {
      predict();
      if (late) writer_.flush();
    }
  }

  std::vector<uint8_t> encode(const SequenceRecord& record) const {
    std::vector<uint8_t> ids(static_cast<size_t>(record.length()));
    if (record.spool) {
      std::string letters(ids.size(), '\0');
      record.spool->read(0, letters);
      dna::encode(letters, ids.data());
      return ids;
    }
    dna::encode(record.sequence, ids.data());
    if (options_.min_base_quality > 0) {
      for (size_t i = 0; i < record.qualities.size(); ++i)
        if (static_cast<uint8_t>(record.qualities[i]) < options_.min_base_quality) ids[i] = dna::kN;
    }
    return ids;
  }

  // Mates ---------------------------------------------------------------------------------------

  void find_mate(int64_t number) {
    Entry& added = entry(number);
    if (!has_mate(added.record)) return;
    const std::string key = pair_key(added.record);
    const auto found = waiting_.find(key);
    if (found != waiting_.end()) {
      Entry& first = entry(found->second);
      first.waiting = false;
      first.mate = number;
      added.mate = found->second;
      waiting_.erase(found);
      return;
    }
    if (collated_) stop_waiting();
    added.waiting = true;
    waiting_[key] = number;
    waiting_order_.push_back(number);
  }

  // The mates of the reads that wait will not come.
  void stop_waiting() {
    for (const auto& [key, number] : waiting_) entry(number).waiting = false;
    waiting_.clear();
    waiting_order_.clear();
  }

  void require_mates_before(int64_t number) {
    while (!waiting_order_.empty() &&
           (waiting_order_.front() < written_ || !entry(waiting_order_.front()).waiting))
      waiting_order_.pop_front();
    if (waiting_order_.empty() || number - waiting_order_.front() <= options_.pair_window) return;
    const SequenceRecord& record = entry(waiting_order_.front()).record;
    throw input_error(file_ + ", record " + std::to_string(record.number) + " \"" + record.name +
                      "\": its mate has not come within " + std::to_string(options_.pair_window) +
                      " records. Bring mates together first (samtools collate), or raise "
                      "--pair-window.");
  }

  void combine(Entry& one, Entry& other) const {
    one.combined = other.combined = true;
    if (!one.predicted || !other.predicted) return;
    one.prediction = classifier_.pair(one.prediction, other.prediction);
    other.prediction = one.prediction;
    one.judged_bases = other.judged_bases = (one.bases_read + other.bases_read) / 2;
  }

  // Predictions ---------------------------------------------------------------------------------

  void predict() {
    others_ = 0;
    if (!batch_.empty()) {
      if (prefix_ != nullptr)
        decide_early();
      else
        predict_whole();
      batch_.clear();
      ids_.clear();
      batch_now_ = 0;
    }
    write_ready();
    if (progress_) progress_(counts_);
    throw_if_interrupted();
  }

  void predict_whole() {
    std::vector<Prediction> predictions = classifier_.predict(ids_);
    for (size_t i = 0; i < batch_.size(); ++i)
      set(entry(batch_[i]), std::move(predictions[i]), static_cast<int64_t>(ids_[i].size()));
  }

  void decide_early() {
    const Clock::time_point start = Clock::now();
    std::vector<PrefixDecision> decisions = prefix_->decide(ids_);
    counts_.decision_seconds += std::chrono::duration<double>(Clock::now() - start).count();
    const std::vector<int64_t>& lengths = prefix_->options().lengths;
    for (size_t i = 0; i < batch_.size(); ++i) {
      const PrefixDecision& decision = decisions[i];
      const auto at = std::find(lengths.begin(), lengths.end(), decision.bases);
      if (decision.confident && at != lengths.end())
        ++counts_.decided_at[static_cast<size_t>(at - lengths.begin())];
      else
        ++counts_.undecided;
      counts_.bases_read += decision.bases;
      set(entry(batch_[i]), std::move(decisions[i].prediction), decision.bases);
    }
  }

  void predict_long(Entry& read) {
    std::string letters;
    std::vector<uint8_t> ids;
    const int64_t length = read.record.length();
    for (int64_t at = 0; at < length; at += kPiece) {
      letters.resize(static_cast<size_t>(std::min(kPiece, length - at)));
      ids.resize(letters.size());
      read.record.spool->read(at, letters);
      dna::encode(letters, ids.data());
      long_sequence_.add(ids);
      throw_if_interrupted();
    }
    set(read, long_sequence_.finish(), length);
  }

  static void set(Entry& read, Prediction prediction, int64_t bases_read) {
    read.prediction = std::move(prediction);
    read.bases_read = read.judged_bases = bases_read;
    read.predicted = true;
  }

  // Output --------------------------------------------------------------------------------------

  bool ready(const Entry& next) {
    if (next.waiting || next.predicts != next.predicted) return false;
    if (next.mate < written_) return true;  // none, or written already
    const Entry& mate = entry(next.mate);
    return mate.predicts == mate.predicted;
  }

  void write_ready() {
    while (!window_.empty() && ready(window_.front())) {
      Entry& next = window_.front();
      if (next.mate >= written_ && !next.combined) {
        counts_.pairs += next.predicted && entry(next.mate).predicted ? 1 : 0;
        combine(next, entry(next.mate));
        describe_pair(next, entry(next.mate));
      }
      const ReadCall call = decide(next);
      count(next, call);
      writer_.write(next.record, call);
      window_.pop_front();
      ++written_;
    }
  }

  // Where both are written, what they are as one: as predicted, though one of them may be short.
  void describe_pair(Entry& one, Entry& other) const {
    const auto shown = [](const Entry& read) { return read.record.fate == RecordFate::kRead; };
    if (classifier_.kind() != HeadConfig::Kind::kClassifier || !shown(one) || !shown(other)) return;
    const ReadCall call = decide(one.predicted ? one : other);
    PairCall pair{true, call.status, call.label, {one.record.length(), other.record.length()}};
    if ((one.record.flags & kLastMateFlag) != 0) std::swap(pair.lengths[0], pair.lengths[1]);
    one.pair = pair;
    pair.first = false;
    other.pair = pair;
  }

  ReadCall decide(const Entry& read) const {
    ReadCall call;
    call.pair = read.pair;
    if (!read.predicted) {
      const RecordFate fate = read.record.fate;
      call.status = fate == RecordFate::kRead              ? ReadStatus::kShort
                    : fate == RecordFate::kWithoutSequence ? ReadStatus::kWithoutSequence
                                                           : ReadStatus::kFiltered;
      return call;
    }
    call.probabilities = read.prediction.probabilities;
    call.out_of_distribution = read.prediction.out_of_distribution;
    call.bases_read = read.bases_read;
    bool accepted = !(call.out_of_distribution > most_out_of_distribution(read));
    if (classifier_.kind() != HeadConfig::Kind::kRegression)
      call.label = static_cast<int32_t>(
          std::max_element(call.probabilities.begin(), call.probabilities.end()) -
          call.probabilities.begin());
    if (classifier_.kind() == HeadConfig::Kind::kClassifier)
      accepted &= static_cast<double>(call.probability()) >= options_.min_probability;
    if (classifier_.kind() == HeadConfig::Kind::kMultiLabel) {
      for (size_t c = 0; c < call.probabilities.size(); ++c)
        if (static_cast<double>(call.probabilities[c]) > options_.min_probability)
          call.labels.push_back(static_cast<int32_t>(c));
    }
    call.status = accepted ? ReadStatus::kClassified : ReadStatus::kUnclassified;
    return call;
  }

  double most_out_of_distribution(const Entry& read) const {
    if (!options_.target_false_positive_rate) return options_.max_out_of_distribution;
    const bool both = prefix_ == nullptr && classifier_.options().both_strands;
    return std::min(options_.max_out_of_distribution,
                    classifier_.calibration().threshold(
                        read.judged_bases, *options_.target_false_positive_rate, both));
  }

  void count(const Entry& read, const ReadCall& call) {
    switch (call.status) {
      case ReadStatus::kClassified:
        ++counts_.classified;
        break;
      case ReadStatus::kUnclassified:
        ++counts_.unclassified;
        break;
      case ReadStatus::kShort:
        ++counts_.too_short;
        break;
      case ReadStatus::kFiltered:
        ++counts_.filtered;
        break;
      case ReadStatus::kWithoutSequence:
        ++counts_.without_sequence;
        break;
    }
    if (call.has_prediction()) counts_.bases += read.record.length();
    count_label(call);
  }

  void count_label(const ReadCall& call) {
    const bool shown = call.has_prediction() || call.status == ReadStatus::kShort;
    if (classifier_.kind() != HeadConfig::Kind::kClassifier || !shown) return;
    if (call.pair && !call.pair->first) return;
    const ReadStatus status = call.pair ? call.pair->status : call.status;
    const int32_t label = call.pair ? call.pair->label : call.label;
    if (status == ReadStatus::kClassified)
      ++counts_.per_label[static_cast<size_t>(label)];
    else
      ++counts_.without_label;
  }

  const ClassifyReadsOptions& options_;
  const SequenceClassifier& classifier_;
  const PrefixClassifier* prefix_;
  ReadWriter& writer_;
  const std::function<void(const ClassifyReadsCounts&)>& progress_;
  const std::function<void(const std::string&)>& note_;
  LongSequence long_sequence_;
  const int64_t batch_bases_;

  ClassifyReadsCounts counts_;
  std::string file_;
  bool collated_ = false;
  bool idle_filters_noted_ = false;
  std::deque<Entry> window_;  // in the order of the input
  int64_t written_ = 0;       // number of the record at the window's front
  std::vector<int64_t> batch_;
  std::vector<std::vector<uint8_t>> ids_;  // of the batch
  int64_t batch_now_ = 0;                  // bases of the batch
  Clock::time_point batch_begun_;
  int64_t others_ = 0;  // records without a prediction since the last batch
  std::unordered_map<std::string, int64_t> waiting_;  // first mates by name
  std::deque<int64_t> waiting_order_;                 // their numbers, and some that wait no more
};

}  // namespace

ClassifyReadsCounts classify_reads(const ClassifyReadsOptions& options,
                                   const SequenceClassifier& classifier,
                                   const PrefixClassifier* prefix, ReadWriter& writer,
                                   const std::function<void(const ClassifyReadsCounts&)>& progress,
                                   const std::function<void(const std::string&)>& note) {
  return Pipeline(options, classifier, prefix, writer, progress, note).run();
}

}  // namespace strandwave
