#include "runtime/image/download.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "base/sys.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
using base::Status;
using base::UniqueFd;
namespace sys = base::sys;

constexpr int kMaxTries = 5;      // without a byte of progress between them
constexpr int kMaxAnswers = 100;  // with progress: a registry that sends a byte at a time ends too
constexpr auto kFirstPause = std::chrono::milliseconds(100);

class Download {
 public:
  Download(StoreWriter& writer, const Descriptor& blob, std::atomic<int64_t>& arrived)
      : writer_(writer), blob_(blob), arrived_(arrived), path_(writer.download_path(blob.digest)) {}

  // The partial file, ours alone; invalid when another process finished the blob meanwhile.
  base::Result<bool> open() {
    for (;;) {
      file_ = TRY(sys::open(path_, O_RDWR | O_CREAT, 0600));
      while (::flock(file_.get(), LOCK_EX) != 0)
        if (errno != EINTR) return sys::last_error("lock", path_);
      if (writer_.has_blob(blob_.digest)) return false;
      struct stat ours, there;
      if (::fstat(file_.get(), &ours) != 0) return sys::last_error("stat", path_);
      // Renamed or removed while we waited for the lock: look again.
      if (::stat(path_.c_str(), &there) == 0 && ours.st_ino == there.st_ino) break;
    }
    return true;
  }
  // Hashes what an earlier process left.
  Status resume() {
    std::string buffer(1u << 20, '\0');
    for (;;) {
      ssize_t n = ::pread(file_.get(), buffer.data(), buffer.size(), static_cast<off_t>(size_));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return sys::last_error("read", path_);
      if (n == 0) break;
      hash_.update({buffer.data(), static_cast<size_t>(n)});
      size_ += static_cast<uint64_t>(n);
    }
    arrived_ += static_cast<int64_t>(size_);
    if (size_ > blob_.size) return restart();
    return {};
  }
  Status restart() {
    arrived_ -= static_cast<int64_t>(size_);
    size_ = 0;
    hash_ = Sha256();
    if (::ftruncate(file_.get(), 0) != 0) return sys::last_error("truncate", path_);
    return {};
  }
  Status take(int status, std::string_view piece) {
    if (!begun_ && status == 200 && size_ > 0) TRY(restart());  // the registry knows no ranges
    begun_ = true;
    if (size_ + piece.size() > blob_.size)
      return make_error(Kind::kCorrupt, "download", blob_.digest,
                        "it is longer than the " + std::to_string(blob_.size) + " bytes of the manifest",
                        "the registry is broken: do not use this image");
    off_t at = static_cast<off_t>(size_);
    for (std::string_view left = piece; !left.empty();) {
      ssize_t n = ::pwrite(file_.get(), left.data(), left.size(), at);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return sys::last_error("write", path_);
      left.remove_prefix(static_cast<size_t>(n));
      at += n;
    }
    hash_.update(piece);
    size_ += piece.size();
    arrived_ += static_cast<int64_t>(piece.size());
    return {};
  }
  Status finish() {
    if (std::string digest = hash_.digest(); digest != blob_.digest) {
      ::unlink(path_.c_str());
      return make_error(Kind::kCorrupt, "verify", blob_.digest, "the registry sent " + digest,
                        "it was damaged or replaced on its way: pull again, or push the image again");
    }
    return writer_.adopt_blob(path_, file_.get(), blob_.digest);
  }
  void discard() { ::unlink(path_.c_str()); }
  void begin() { begun_ = false; }
  uint64_t size() const { return size_; }

 private:
  StoreWriter& writer_;
  const Descriptor& blob_;
  std::atomic<int64_t>& arrived_;
  std::string path_;
  UniqueFd file_;
  Sha256 hash_;
  uint64_t size_ = 0;
  bool begun_ = false;  // a piece of this answer came
};

bool worth_a_retry(const base::Error& error) {
  return error.kind == Kind::kUnavailable || error.kind == Kind::kTimeout;
}

}  // namespace

Status download_blob(StoreWriter& writer, RegistryClient& registry, HttpClient& http, const Descriptor& blob,
                     std::atomic<int64_t>& arrived, const std::atomic<bool>& stop) {
  if (writer.has_blob(blob.digest)) {
    arrived += static_cast<int64_t>(blob.size);
    return {};
  }
  Download download(writer, blob, arrived);
  if (!TRY(download.open())) {
    arrived += static_cast<int64_t>(blob.size);
    return {};
  }
  TRY(download.resume());
  bool resumed = download.size() > 0;
  bool restarted = false;
  auto pause = kFirstPause;
  for (int tries = 0, answers = 0; download.size() < blob.size || blob.size == 0;) {
    uint64_t before = download.size();
    download.begin();
    auto done = registry.blob(
        http, blob.digest, before,
        [&](int status, std::string_view piece) { return download.take(status, piece); }, &stop);
    if (done.ok() && download.size() == blob.size) break;
    if (done.ok()) {  // a whole answer, so this is all it has
      download.discard();
      return make_error(Kind::kCorrupt, "download", blob.digest,
                        "it has " + std::to_string(download.size()) + " of the " + std::to_string(blob.size) +
                            " bytes of the manifest",
                        "the registry is broken: push the image again");
    }
    base::Error error = done.error();
    if (error.kind == Kind::kInvalid && before > 0 && !restarted) {  // 416: it has less than we do
      restarted = true;
      TRY(download.restart());
      continue;
    }
    if (error.kind == Kind::kExhausted) download.discard();  // a full disk is not helped by a part
    if (!worth_a_retry(error) || stop) return error;
    if (download.size() > before) tries = 0, pause = kFirstPause;
    if (++tries >= kMaxTries || ++answers >= kMaxAnswers) return error;
    // A registry that just refused needs a moment.
    registry.wait_until_asked_again(pause);
    pause *= 2;
  }
  auto verified = download.finish();
  // The part of an earlier process may have been damaged by a power cut: once more from the start.
  if (!verified.ok() && verified.error().kind == Kind::kCorrupt && resumed)
    return download_blob(writer, registry, http, blob, arrived, stop);
  return verified;
}

}  // namespace runtime
