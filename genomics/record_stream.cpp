#include "genomics/record_stream.h"

#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "genomics/io/byte_reader.h"

namespace strandwave {
namespace {

constexpr size_t kMostItems = 8192;
constexpr uint16_t kUnalignedPair = kPairedFlag | kUnmappedFlag | kMateUnmappedFlag;

std::string described(const SequenceReader& reader, const SequenceRecord& record) {
  return display_path(reader.path()) + ", record " + std::to_string(record.number) + " \"" +
         record.name + "\"";
}

}  // namespace

RecordStream::RecordStream(RecordStreamOptions options) : options_(std::move(options)) {
  options_.reader.stop = stop_.get_token();
  if (!options_.inputs.empty()) first_.emplace(options_.inputs[0], options_.reader);
  thread_ = std::thread([this] { run(); });
}

RecordStream::~RecordStream() {
  stop_.request_stop();
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

RecordStream::Got RecordStream::next(
    StreamItem& item, std::optional<std::chrono::steady_clock::time_point> deadline) {
  std::unique_lock lock(mutex_);
  const auto ready = [&] { return !items_.empty() || ended_; };
  if (!deadline)
    changed_.wait(lock, ready);
  else if (!changed_.wait_until(lock, *deadline, ready))
    return Got::kTimeout;
  if (items_.empty()) {
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    return Got::kEnd;
  }
  item = std::move(items_.front());
  items_.pop_front();
  bases_ -= item.record.length();
  lock.unlock();
  changed_.notify_all();
  return Got::kItem;
}

SequenceReader RecordStream::open(size_t input) {
  if (input == 0) return std::move(*first_);
  return SequenceReader(options_.inputs[input], options_.reader);
}

void RecordStream::run() {
  std::exception_ptr failure;
  try {
    for (size_t i = 0; i < options_.inputs.size(); ++i) {
      SequenceReader reader = open(i);
      if (!push_file(reader)) break;
      const bool mates = options_.paired && !is_alignment(reader.format());
      if (!mates) {
        SequenceRecord record;
        while (reader.next(record) && push_record(record)) {
        }
      } else if (i + 1 < options_.inputs.size()) {
        SequenceReader second = open(++i);
        if (is_alignment(second.format()))
          throw usage_error(display_path(second.path()) + " is " + to_string(second.format()) +
                            ", but the mates of " + display_path(reader.path()) +
                            " were expected: with --paired files of reads come in twos");
        if (!push_file(second)) break;
        read_mates(reader, second);
        push_end(second);
      } else {
        read_mates(reader, reader);
      }
      if (!push_end(reader)) break;
    }
  } catch (...) {
    failure = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    failure_ = failure;
    ended_ = true;
  }
  changed_.notify_all();
}

void RecordStream::read_mates(SequenceReader& first, SequenceReader& second) {
  SequenceRecord a, b;
  for (;;) {
    const bool more = first.next(a);
    const bool mate = (more || &first != &second) && second.next(b);
    if (!more && !mate) return;
    if (more != mate) {
      const SequenceReader& shorter = more ? second : first;
      throw input_error(described(more ? first : second, more ? a : b) +
                        " has no mate: " + display_path(shorter.path()) + " ends after " +
                        counted(shorter.counts().records, "record") + ".");
    }
    if (pair_name(a.name) != pair_name(b.name))
      throw input_error(described(first, a) + " and " + described(second, b) +
                        " are not mates: with --paired their names must be the same (but for /1 "
                        "and /2).");
    a.flags = kUnalignedPair | kFirstMateFlag;
    b.flags = kUnalignedPair | kLastMateFlag;
    if (!push_record(a) || !push_record(b)) return;
  }
}

bool RecordStream::push(StreamItem item) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    return stopped_ || (bases_ < options_.most_bases && items_.size() < kMostItems);
  });
  if (stopped_) return false;
  bases_ += item.record.length();
  items_.push_back(std::move(item));
  lock.unlock();
  changed_.notify_all();
  return true;
}

bool RecordStream::push_file(const SequenceReader& reader) {
  StreamItem item;
  item.kind = StreamItem::Kind::kFile;
  item.path = reader.path();
  item.format = reader.format();
  item.header = reader.alignment_header();
  item.collated = reader.collated();
  item.notes = reader.notes();
  return push(std::move(item));
}

bool RecordStream::push_record(SequenceRecord& record) {
  StreamItem item;
  item.record = std::move(record);
  record = {};
  return push(std::move(item));
}

bool RecordStream::push_end(const SequenceReader& reader) {
  StreamItem item;
  item.kind = StreamItem::Kind::kFileEnd;
  item.records = reader.counts().records;
  return push(std::move(item));
}

}  // namespace strandwave
