#include "core/base/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "core/base/error.h"

namespace strandwave {
namespace {

Error file_error(const std::string& what, const std::filesystem::path& path) {
  const int code = errno;
  std::string message = "cannot " + what + " " + path.string() + ": " + std::strerror(code);
  if (code == ENOSPC || code == EDQUOT || code == EFBIG)
    message += "; free some space and start the same command again";
  return runtime_failure(message);
}

}  // namespace

AppendFile::AppendFile(const std::filesystem::path& path, std::optional<int64_t> keep_bytes)
    : path_(path) {
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) throw file_error("open", path);
  struct stat status {};
  if (::fstat(file_, &status) != 0) throw file_error("read the size of", path);
  size_ = status.st_size;
  if (keep_bytes && *keep_bytes < size_) cut(*keep_bytes);
}

AppendFile::~AppendFile() { ::close(file_); }

void AppendFile::append(std::string_view data) {
  size_t done = 0;
  while (done < data.size()) {
    const ssize_t written = ::write(file_, data.data() + done, data.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const Error error = file_error("write", path_);
      if (done > 0) cut(size_);
      throw error;
    }
    done += static_cast<size_t>(written);
  }
  size_ += static_cast<int64_t>(data.size());
}

void AppendFile::cut(int64_t bytes) {
  if (::ftruncate(file_, bytes) != 0) throw file_error("shorten", path_);
  size_ = bytes;
}

void AppendFile::sync() {
  if (::fsync(file_) != 0) throw file_error("sync", path_);
}

}  // namespace strandwave
