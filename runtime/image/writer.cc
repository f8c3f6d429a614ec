#include "runtime/image/writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>

#include <atomic>
#include <cerrno>

#include "base/json.h"
#include "base/sys.h"
#include "runtime/image/reference.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
using base::Status;
using base::UniqueFd;
namespace sys = base::sys;

base::Result<UniqueFd> lock_file(const std::string& path, int operation) {
  UniqueFd fd = TRY(sys::open(path, O_RDWR | O_CREAT, 0600));
  while (::flock(fd.get(), operation) != 0) {
    if (errno == EINTR) continue;
    return sys::last_error("lock", path);
  }
  return fd;
}

Status sync_directory(const std::string& path) {
  UniqueFd fd = TRY(sys::open(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return sys::last_error("fsync", path);
  return {};
}

}  // namespace

Status clear_temporary(const std::string& root, bool downloads_too) {
  for (const std::string& name : TRY(sys::list_dir(root + "/tmp")))
    if (downloads_too || !name.starts_with("download-")) TRY(sys::remove_all(root + "/tmp/" + name));
  return {};
}

base::Error explain_disk_full(const std::string& image_root, base::Error error) {
  int number = 0;
  for (const base::Error* at = &error; at && number == 0; at = at->cause.get()) number = at->errno_value;
  if (number != ENOSPC && number != EDQUOT) return error;
  struct statvfs info;
  std::string free = ::statvfs(image_root.c_str(), &info) == 0
                         ? std::to_string(info.f_bavail * info.f_frsize >> 20) + " MiB and " +
                               std::to_string(info.f_favail) + " inodes are free"
                         : std::string("its file system is full");
  return base::Error{Kind::kExhausted,
                     number,
                     "store image in",
                     image_root,
                     free,
                     "remove images (sampan image rm, sampan image gc) or give it a larger disk",
                     std::make_shared<const base::Error>(std::move(error))};
}

base::Result<StoreWriter> StoreWriter::open(const std::string& image_root) {
  StoreWriter writer;
  writer.root_ = image_root;
  // Only root enters layers: a set-user-ID file of an image must not be a host user's to run.
  TRY_WRAP(sys::mkdir_all(image_root), "make image root", image_root);
  for (const char* name : {"/blobs", "/blobs/sha256", "/layers", "/tmp", "/pins"})
    TRY_WRAP(sys::mkdir_all(image_root + name, 0700), "make image root", image_root);
  writer.lock_ = TRY(sys::open(image_root + "/lock", O_RDWR | O_CREAT, 0600));
  // Alone: then whatever is in tmp/ belongs to nobody. Partial downloads stay: a pull goes on there.
  if (::flock(writer.lock_.get(), LOCK_EX | LOCK_NB) == 0) TRY(clear_temporary(image_root, false));
  while (::flock(writer.lock_.get(), LOCK_SH) != 0)
    if (errno != EINTR) return sys::last_error("lock", image_root + "/lock");
  return writer;
}

bool StoreWriter::has_blob(std::string_view digest) const { return sys::exists(blob_path(root_, digest)); }
bool StoreWriter::has_layer(std::string_view diff_id) const {
  return sys::exists(layer_path(root_, diff_id));
}
base::Result<std::string> StoreWriter::read_blob(std::string_view digest, size_t limit_bytes) const {
  return sys::read_file(blob_path(root_, digest), limit_bytes);
}

std::string StoreWriter::temporary(std::string_view kind) {
  static std::atomic<uint64_t> counter{0};
  return root_ + "/tmp/" + std::string(kind) + "-" + std::to_string(::getpid()) + "-" +
         std::to_string(counter.fetch_add(1));
}
std::string StoreWriter::download_path(std::string_view digest) const {
  return root_ + "/tmp/download-" + std::string(digest_hex(digest));
}

StoreWriter::Blob::Blob(Blob&& other) noexcept = default;
StoreWriter::Blob::~Blob() {
  if (fd_.valid()) ::unlink(path_.c_str());
}
Status StoreWriter::Blob::write(std::string_view data) {
  hash_.update(data);
  size_ += data.size();
  TRY_WRAP(sys::write_all(fd_.get(), data), "write blob", path_);
  return {};
}
const std::string& StoreWriter::Blob::digest() {
  if (digest_.empty()) digest_ = hash_.digest();
  return digest_;
}

base::Result<StoreWriter::Blob> StoreWriter::new_blob() {
  Blob blob;
  blob.root_ = root_;
  blob.path_ = temporary("blob");
  blob.fd_ = TRY(sys::open(blob.path_, O_RDWR | O_CREAT | O_EXCL, 0600));
  return blob;
}

base::Result<std::string> StoreWriter::commit(Blob blob, std::string_view expected) {
  std::string digest = blob.digest();
  if (!expected.empty() && digest != expected)
    return make_error(Kind::kCorrupt, "verify blob", std::string(expected), "the content is " + digest,
                      "it was damaged or replaced on its way: fetch it again");
  TRY(adopt_blob(blob.path_, blob.fd_.get(), digest));
  blob.fd_.reset();  // renamed: nothing to remove
  return digest;
}
Status StoreWriter::adopt_blob(const std::string& path, int fd, std::string_view digest) {
  if (::fsync(fd) != 0) return sys::last_error("fsync", path);
  std::string target = blob_path(root_, digest);
  if (::rename(path.c_str(), target.c_str()) != 0) return sys::last_error("rename", target);
  return {};
}
base::Result<std::string> StoreWriter::put(std::string_view data) {
  std::string digest = sha256_digest(data);
  if (has_blob(digest)) return digest;
  Blob blob = TRY(new_blob());
  TRY(blob.write(data));
  return commit(std::move(blob));
}

Status StoreWriter::unpack(std::string_view blob_digest, std::string_view diff_id, TarLimits limits) {
  if (has_layer(diff_id)) return {};
  std::string hex(digest_hex(diff_id));
  UniqueFd lock = TRY(lock_file(root_ + "/tmp/lock-" + hex, LOCK_EX));
  if (has_layer(diff_id)) return {};
  UniqueFd blob = TRY(sys::open(blob_path(root_, blob_digest), O_RDONLY));
  std::string work = temporary("layer");
  struct Remover {
    std::string path;
    ~Remover() {
      if (!path.empty()) base::ignore(sys::remove_all(path), "the next writer clears tmp/ again");
    }
  } remover{work};
  TRY(sys::mkdir_all(work, 0700));
  TRY(sys::mkdir_all(work + "/fs", 0755));
  Unpacked unpacked = TRY(unpack_layer(blob.get(), std::string(blob_digest), work + "/fs", limits));
  if (unpacked.diff_id != diff_id)
    return make_error(
        Kind::kCorrupt, "verify layer", std::string(blob_digest),
        "its content is " + unpacked.diff_id + ", the image's config says " + std::string(diff_id),
        "the image is broken: build and push it again");
  base::json::object info{{"bytes", unpacked.bytes}, {"entries", unpacked.entries}};
  TRY(sys::write_file_atomic(work + "/info.json", base::to_json(info) + "\n"));
  // One syncfs for thousands of files: a layer that has its final name survives a power cut whole.
  UniqueFd directory = TRY(sys::open(work, O_RDONLY | O_DIRECTORY));
  if (::syncfs(directory.get()) != 0) return sys::last_error("syncfs", work);
  std::string target = layer_path(root_, diff_id);
  if (::rename(work.c_str(), target.c_str()) != 0) return sys::last_error("rename", target);
  remover.path.clear();
  return {};
}

Status StoreWriter::update_index(const std::function<Status(ImageIndex&)>& change) {
  UniqueFd lock = TRY(lock_file(root_ + "/index.lock", LOCK_EX));
  ImageIndex index = TRY(read_image_index(root_));
  TRY(change(index));
  TRY(sync_directory(root_ + "/blobs/sha256"));
  TRY(sync_directory(root_ + "/layers"));
  return sys::write_file_atomic(index_path(root_), image_index_text(index));
}
Status StoreWriter::set_image(const std::string& name, const IndexEntry& entry) {
  return update_index([&](ImageIndex& index) -> Status {
    index[name] = entry;
    return {};
  });
}
base::Result<IndexEntry> StoreWriter::remove_image(const std::string& name) {
  IndexEntry removed;
  TRY(update_index([&](ImageIndex& index) -> Status {
    auto found = index.find(name);
    if (found == index.end())
      return make_error(Kind::kNotFound, "remove image", name, "not in " + root_,
                        "sampan image list shows what is");
    removed = found->second;
    index.erase(found);
    return {};
  }));
  return removed;
}

}  // namespace runtime
