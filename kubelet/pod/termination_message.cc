#include "kubelet/pod/termination_message.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/sys.h"
#include "kubelet/node/utf8.h"
#include "kubelet/streaming/log.h"

namespace kubelet {

namespace sys = base::sys;

namespace {

constexpr uint64_t kLogWindow = 128 << 10;  // pieces of a line are at most 16 KiB

std::string read_from(int fd, uint64_t from, uint64_t bytes) {
  std::string text(bytes, '\0');
  const ssize_t n = ::pread(fd, text.data(), text.size(), static_cast<off_t>(from));
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return text;
}

std::string_view last_bytes(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  text.remove_prefix(text.size() - bytes);
  while (!text.empty() && (text[0] & 0xC0) == 0x80) text.remove_prefix(1);
  return text;
}

}  // namespace

std::string termination_file(const std::string& path) {
  // Without waiting: the container may have put a FIFO in its place.
  auto fd = sys::open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  struct stat st {};
  if (!fd.ok() || ::fstat(fd->get(), &st) != 0 || !S_ISREG(st.st_mode)) return {};
  const auto size = static_cast<uint64_t>(st.st_size);
  return valid_utf8(
      read_from(fd->get(), size - std::min<uint64_t>(size, kMaxMessageBytes), kMaxMessageBytes));
}

std::string termination_log(const std::string& log_path) {
  auto fd = sys::open(log_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  struct stat st {};
  if (!fd.ok() || ::fstat(fd->get(), &st) != 0 || !S_ISREG(st.st_mode)) return {};
  const auto size = static_cast<uint64_t>(st.st_size);
  const uint64_t window = size - std::min(size, kLogWindow);
  auto lines = tail_offset(fd->get(), size, kMaxLogMessageLines);
  const bool cut = !lines.ok() || *lines < window;
  const uint64_t from = cut ? window : *lines;
  const std::string text = read_from(fd->get(), from, size - from);
  std::string out;
  for (size_t at = cut ? text.find('\n') + 1 : 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    out += render_log_line(std::string_view(text).substr(at, end - at), {});
    at = end + 1;
  }
  return valid_utf8(last_bytes(out, kMaxLogMessageBytes));
}

}  // namespace kubelet
