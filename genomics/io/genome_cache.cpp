#include "genomics/io/genome_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/files.h"
#include "genomics/io/content_hash.h"
#include "genomics/io/fasta_packer.h"

namespace strandwave::genome_cache {
namespace {

constexpr std::array<char, 8> kMagic = {'s', 'w', 'g', 'e', 'n', 'o', 'm', 'e'};
constexpr uint64_t kVersion = 1;
constexpr uint64_t kHeaderSize = 4096;
constexpr int64_t kProgressStep = int64_t{16} << 20;

struct Section {
  uint64_t offset;
  uint64_t size;  // bytes
};

// At the start of the file. All numbers are little-endian, as the machine's own.
struct Header {
  std::array<char, 8> magic;
  uint64_t version;
  uint64_t file_size;
  std::array<uint64_t, 2> content;  // hash of the input
  Section packed;
  Section contigs;
  Section names;
  Section unknown;
  Section lower;
  std::array<uint64_t, 2> tables;  // hash of everything behind the packed bases
  std::array<uint64_t, 2> check;   // hash of all fields above
};

// Behind the header, at a place of its own, because it is renewed without a rebuild.
constexpr uint64_t kStampOffset = 1024;
struct StampRecord {
  Stamp stamp;
  std::array<uint64_t, 2> check;
};

static_assert(sizeof(Header) <= kStampOffset && kStampOffset + sizeof(StampRecord) <= kHeaderSize);
static_assert(std::has_unique_object_representations_v<Header> &&
              std::has_unique_object_representations_v<Stamp> &&
              std::has_unique_object_representations_v<ContigEntry>);

std::array<uint64_t, 2> header_check(const Header& header) {
  return content_hash({reinterpret_cast<const char*>(&header), offsetof(Header, check)});
}
std::array<uint64_t, 2> stamp_check(const Stamp& stamp) {
  return content_hash({reinterpret_cast<const char*>(&stamp), sizeof(stamp)});
}

class Descriptor {
 public:
  explicit Descriptor(int value = -1) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const { return value_; }
  explicit operator bool() const { return value_ >= 0; }

 private:
  int value_;
};

int64_t nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Stamp stamp_of(int descriptor) {
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) return {};
  return {info.st_size, nanoseconds(info.st_mtim), nanoseconds(info.st_ctim), info.st_ino,
          info.st_dev};
}

// A file changed a moment ago may change again within the same tick of the file system's clock.
bool settled(const Stamp& stamp) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  constexpr int64_t kTick = 2'000'000'000;
  return nanoseconds(now) - stamp.changed_ns > kTick &&
         nanoseconds(now) - stamp.modified_ns > kTick;
}

// A file to be; what fails is said together with the way round it.
class NewFile {
 public:
  explicit NewFile(const std::filesystem::path& path) {
    explained([&] {
      std::error_code failure;
      std::filesystem::create_directories(path.parent_path(), failure);
      if (failure)
        throw runtime_failure("cannot write " + path.parent_path().string() + ": " +
                              failure.message());
      file_.emplace(path);
    });
  }
  void write(const void* bytes, size_t size) {
    explained([&] { file_->write(std::span(static_cast<const std::byte*>(bytes), size)); });
    offset_ += size;
  }
  void write_header(const Header& header) {
    explained([&] { file_->write_at(0, std::as_bytes(std::span(&header, 1))); });
  }
  void commit() {
    explained([&] { file_->commit(); });
  }
  uint64_t offset() const { return offset_; }
  int descriptor() const { return file_->descriptor(); }

 private:
  template <typename Work>
  static void explained(const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      throw Error(error.kind(), std::string(error.what()) +
                                    ". The genome cache can lie elsewhere: set the environment "
                                    "variable STRANDWAVE_CACHE to another folder.");
    }
  }

  std::optional<AtomicFile> file_;
  uint64_t offset_ = 0;
};

Section append(NewFile& out, ContentHash& hash, const void* bytes, size_t size) {
  const Section section = {out.offset(), size};
  static constexpr std::array<char, 8> kZeros{};
  const size_t padding = (8 - size % 8) % 8;
  out.write(bytes, size);
  out.write(kZeros.data(), padding);
  hash.add(bytes, size);
  hash.add(kZeros.data(), padding);
  return section;
}

// Reads the FASTA and writes all of the cache but the stamp.
void pack(ByteReader& in, NewFile& out,
          const std::function<void(const std::string&, int64_t)>& progress) {
  const std::vector<char> blank(kHeaderSize);
  out.write(blank.data(), blank.size());
  FastaPacker packer(
      in.name(), [&](const std::vector<uint8_t>& bytes) { out.write(bytes.data(), bytes.size()); });
  int64_t next_report = kProgressStep;
  int64_t bytes = 0;
  for (std::string_view text = in.chunk(); !text.empty(); text = in.chunk()) {
    packer.add(text);
    bytes += static_cast<int64_t>(text.size());
    in.consume(text.size());
    if (progress && bytes >= next_report) {
      progress(in.path(), bytes);
      next_report += kProgressStep;
    }
  }
  const PackedTables tables = packer.finish();
  Header header{};
  header.magic = kMagic;
  header.version = kVersion;
  header.content = in.hash();
  header.packed = {kHeaderSize, out.offset() - kHeaderSize};
  out.write(blank.data(), (8 - out.offset() % 8) % 8);  // tables are read where they lie
  ContentHash hash;
  header.contigs =
      append(out, hash, tables.contigs.data(), tables.contigs.size() * sizeof(ContigEntry));
  header.names = append(out, hash, tables.names.data(), tables.names.size());
  header.unknown = append(out, hash, tables.unknown.data(), tables.unknown.size() * sizeof(Run));
  header.lower = append(out, hash, tables.lower.data(), tables.lower.size() * sizeof(Run));
  header.tables = hash.value();
  header.file_size = out.offset();
  header.check = header_check(header);
  out.write_header(header);
}

void write_stamp(int descriptor, const Stamp& stamp) {
  const StampRecord record = {stamp, stamp_check(stamp)};
  // A cache that cannot be stamped (read-only) stays right: its input is hashed at each opening.
  [[maybe_unused]] const ssize_t done = ::pwrite(descriptor, &record, sizeof(record), kStampOffset);
}

std::array<uint64_t, 2> hash_of_file(const std::string& path) {
  ByteReader in(path, 0);
  for (std::string_view bytes = in.chunk(); !bytes.empty(); bytes = in.chunk())
    in.consume(bytes.size());
  return in.hash();
}

// A readable name with the hash of the canonical path: a new version of a file replaces the old
// cache.
std::string cache_name(const std::string& path) {
  std::error_code failure;
  std::string canonical = std::filesystem::canonical(path, failure).string();
  if (failure) canonical = path;
  std::string base = std::filesystem::path(canonical).filename().string().substr(0, 100);
  return base + "." + to_hex(content_hash(canonical)).substr(0, 16) + ".swgenome";
}

// The existing cache if it belongs to the content of `path` now.
std::shared_ptr<const PackedFile> find_valid(const std::string& path,
                                             const std::string& cache_path) {
  Descriptor cache(::open(cache_path.c_str(), O_RDWR | O_CLOEXEC));
  if (!cache) cache = Descriptor(::open(cache_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!cache) return nullptr;
  Stamp packed_stamp;
  auto file = PackedFile::map(cache.get(), packed_stamp);
  if (!file) return nullptr;
  const ByteReader in(path, 0);  // explains a missing or unreadable input
  const Stamp stamp = stamp_of(in.descriptor());
  if (stamp == packed_stamp) return file;
  if (hash_of_file(path) != file->hash() || stamp_of(in.descriptor()) != stamp) return nullptr;
  if (settled(stamp)) write_stamp(cache.get(), stamp);
  return file;
}

// The cache of the standard input, or of a pipe, never gets a name.
Opened build(const std::string& path, const std::string& cache_dir,
             const std::function<void(const std::string&, int64_t)>& progress) {
  ByteReader in(path);
  const bool keep = in.regular_file() && path != "-";
  const std::string cache_path = cache_dir + "/" + (keep ? cache_name(path) : "standard-input");
  const Stamp before = stamp_of(in.descriptor());
  NewFile out(cache_path);
  pack(in, out, progress);
  const Stamp after = stamp_of(in.descriptor());
  if (keep && before != after)
    throw input_error(path + " changed while it was read. Start again when it is complete.");
  if (keep && settled(after)) write_stamp(out.descriptor(), after);
  Stamp unused;
  auto file = PackedFile::map(out.descriptor(), unused);
  if (!file) {
    throw runtime_failure("the genome cache just written in " + cache_dir +
                          " cannot be mapped: " + std::strerror(errno) +
                          ". Choose another cache folder (environment variable STRANDWAVE_CACHE).");
  }
  if (keep) out.commit();
  return {std::move(file), keep ? cache_path : "", true};
}

}  // namespace

PackedFile::~PackedFile() {
  if (address_ != nullptr) ::munmap(address_, size_);
}

std::shared_ptr<const PackedFile> PackedFile::map(int descriptor, Stamp& stamp) {
  struct stat info {};
  if (::fstat(descriptor, &info) != 0 || static_cast<uint64_t>(info.st_size) < kHeaderSize)
    return nullptr;
  const std::shared_ptr<PackedFile> file(new PackedFile);
  const size_t size = static_cast<size_t>(info.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) return nullptr;
  file->address_ = address;
  file->size_ = size;
  return file->check(stamp) ? file : nullptr;
}

bool PackedFile::check(Stamp& stamp) {
  const char* bytes = static_cast<const char*>(address_);
  Header header;
  std::memcpy(&header, bytes, sizeof(header));
  if (header.magic != kMagic || header.version != kVersion || header.file_size != size_ ||
      header.check != header_check(header)) {
    return false;
  }
  ContentHash tables;
  tables.add(bytes + header.contigs.offset, size_ - header.contigs.offset);
  if (tables.value() != header.tables) return false;
  StampRecord record;
  std::memcpy(&record, bytes + kStampOffset, sizeof(record));
  stamp = record.check == stamp_check(record.stamp) ? record.stamp : Stamp{};
  hash_ = header.content;
  contigs_ = {reinterpret_cast<const ContigEntry*>(bytes + header.contigs.offset),
              header.contigs.size / sizeof(ContigEntry)};
  names_ = {bytes + header.names.offset, header.names.size};
  unknown_ = {reinterpret_cast<const Run*>(bytes + header.unknown.offset),
              header.unknown.size / sizeof(Run)};
  lower_ = {reinterpret_cast<const Run*>(bytes + header.lower.offset),
            header.lower.size / sizeof(Run)};
  packed_ = {reinterpret_cast<const uint8_t*>(bytes + header.packed.offset), header.packed.size};
  return true;
}

Opened open(const std::string& path, const std::string& cache_dir, bool rebuild,
            const std::function<void(const std::string&, int64_t)>& progress) {
  if (path != "-" && !rebuild) {
    std::string cache_path = cache_dir + "/" + cache_name(path);
    if (auto file = find_valid(path, cache_path))
      return {std::move(file), std::move(cache_path), false};
  }
  return build(path, cache_dir, progress);
}

}  // namespace strandwave::genome_cache
