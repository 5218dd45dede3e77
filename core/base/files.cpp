#include "core/base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/error.h"

namespace strandwave {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTemporaryMark = ".tmp-";

// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

std::string reason(int error) {
  switch (error) {
    case ENOENT:
      return "there is no such file; check the path";
    case EACCES:
    case EPERM:
      return "permission denied; check the access rights";
    case ENOSPC:
      return "the disk is full; free some space or choose another place";
    case EDQUOT:
      return "the disk quota is used up; free some space or choose another place";
    case EROFS:
      return "the file system is read-only; choose another place";
    case EFBIG:
      return "the file grew beyond the allowed size (see ulimit -f)";
    default:
      return std::strerror(error);
  }
}

Error reading_error(const fs::path& path, int error) {
  return input_error("cannot read " + path.string() + ": " + reason(error));
}

Error writing_error(const fs::path& path, int error) {
  return runtime_failure(
      "cannot write " + path.string() + ": " +
      (error == ENOENT ? "its directory does not exist; create it first" : reason(error)));
}

int open_for_reading(const fs::path& path, uint64_t* size) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw reading_error(path, errno);
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    const bool directory = S_ISDIR(status.st_mode);
    ::close(descriptor);
    throw input_error("cannot read " + path.string() + ": it is " +
                      (directory ? "a directory" : "no regular file"));
  }
  *size = static_cast<uint64_t>(status.st_size);
  return descriptor;
}

fs::path temporary_name(const fs::path& path) {
  static std::atomic<uint64_t> counter{0};
  fs::path name = path;
  name += kTemporaryMark + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  return name;
}

// The open file's name for linkat().
std::string name_of(int descriptor) { return "/proc/self/fd/" + std::to_string(descriptor); }

// A file without a name in `directory`, or -1 where there are none or none could be linked later.
int open_unnamed(const fs::path& directory) {
  const int descriptor = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (descriptor < 0 || ::access(name_of(descriptor).c_str(), F_OK) == 0) return descriptor;
  ::close(descriptor);
  return -1;
}

// "dir/" and "dir" name the same directory; the temporary name must lie beside it.
fs::path without_trailing_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

void sync_path(const fs::path& path, int flags) {
  const Descriptor descriptor(::open(path.c_str(), flags | O_CLOEXEC));
  if (descriptor.get() < 0 || ::fsync(descriptor.get()) != 0) throw writing_error(path, errno);
}

}  // namespace

std::string read_file(const fs::path& path, uint64_t max_bytes) {
  uint64_t size = 0;
  const Descriptor descriptor(open_for_reading(path, &size));
  if (size > max_bytes)
    throw input_error("cannot read " + path.string() + ": it has " + std::to_string(size) +
                      " bytes, at most " + std::to_string(max_bytes) + " are expected here");
  std::string contents(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(descriptor.get(), contents.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw reading_error(path, errno);
    if (got == 0) break;  // it shrank while we read
    done += static_cast<size_t>(got);
  }
  contents.resize(done);
  return contents;
}

void require_directory(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status))
    throw input_error("there is no directory " + path.string() + "; check the path");
  if (!fs::is_directory(status))
    throw input_error(path.string() + " is not a directory; check the path");
}

MappedFile::MappedFile(const fs::path& path) {
  uint64_t size = 0;
  const Descriptor descriptor(open_for_reading(path, &size));
  if (size == 0) return;
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor.get(), 0);
  if (data == MAP_FAILED) throw reading_error(path, errno);
  size_ = size;
  data_ = {static_cast<const std::byte*>(data), Unmap{size_}};
}

void MappedFile::Unmap::operator()(const std::byte* data) const {
  ::munmap(const_cast<std::byte*>(data), size);
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path_, ignored);
  if (fs::is_directory(status))
    throw runtime_failure("cannot write " + path_.string() + ": it is a directory");
  straight_ = fs::exists(status) && !fs::is_regular_file(status);
  if (straight_) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    descriptor_ = open_unnamed(parent_of(path_));
    if (descriptor_ < 0) {
      temporary_ = temporary_name(path_);
      descriptor_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
  }
  if (descriptor_ < 0) throw writing_error(path_, errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  constexpr size_t kMost = size_t{1} << 30;  // Linux writes at most 2 GiB a call
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kMost));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw writing_error(path_, errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void AtomicFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  const ssize_t written =
      ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
  if (written != static_cast<ssize_t>(bytes.size()))
    throw writing_error(path_, written < 0 ? errno : ENOSPC);
}

void AtomicFile::commit() {
  if (straight_) {
    if (::close(std::exchange(descriptor_, -1)) != 0) throw writing_error(path_, errno);
    return;
  }
  if (::fsync(descriptor_) != 0) throw writing_error(path_, errno);
  if (temporary_.empty()) {
    // A link cannot replace a file, a renaming can: so it is linked under a temporary name first.
    fs::path name = temporary_name(path_);
    if (::linkat(AT_FDCWD, name_of(descriptor_).c_str(), AT_FDCWD, name.c_str(),
                 AT_SYMLINK_FOLLOW) != 0)
      throw writing_error(path_, errno);
    temporary_ = std::move(name);
  }
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (closed != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    throw writing_error(path_, error);
  }
  sync_directory(parent_of(path_));
}

void write_file_atomically(const fs::path& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents);
  file.commit();
}

AtomicDirectory::AtomicDirectory(fs::path final_path)
    : final_(without_trailing_slash(final_path)), temporary_(temporary_name(final_)) {
  std::error_code error;
  fs::create_directories(parent_of(final_), error);
  if (error) throw writing_error(parent_of(final_), error.value());
  if (::mkdir(temporary_.c_str(), 0777) != 0) throw writing_error(final_, errno);
}

AtomicDirectory::~AtomicDirectory() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
}

void AtomicDirectory::commit(bool replace) {
  for (const auto& entry : fs::directory_iterator(temporary_))
    if (entry.is_regular_file()) sync_path(entry.path(), O_RDONLY);
  sync_directory(temporary_);
  std::error_code error;
  fs::path old;
  if (fs::exists(final_, error)) {
    if (!replace)
      throw runtime_failure("cannot write " + final_.string() +
                            ": it exists already; remove it or choose another name");
    old = temporary_name(final_);
    fs::rename(final_, old, error);
    if (error) throw writing_error(final_, error.value());
  }
  fs::rename(temporary_, final_, error);
  if (error) {
    std::error_code ignored;
    if (!old.empty()) fs::rename(old, final_, ignored);
    throw writing_error(final_, error.value());
  }
  committed_ = true;
  sync_directory(parent_of(final_));
  if (!old.empty()) fs::remove_all(old, error);
}

void sync_directory(const fs::path& directory) { sync_path(directory, O_RDONLY | O_DIRECTORY); }

bool is_temporary_name(const fs::path& path) {
  const std::string name = path.filename().string();
  const size_t mark = name.rfind(kTemporaryMark);
  if (mark == std::string::npos) return false;
  const std::string rest = name.substr(mark + std::strlen(kTemporaryMark));
  return !rest.empty() && rest.find_first_not_of("0123456789-") == std::string::npos;
}

}  // namespace strandwave
