// `save`: images of the store as one tar, an OCI layout that `docker load` understands too (it
// reads manifest.json). Bytes are the store's own, so digests survive the journey.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <set>

#include "base/json.h"
#include "base/sys.h"
#include "runtime/image/image.h"
#include "runtime/image/manifest.h"
#include "runtime/image/reference.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
using base::Status;
namespace sys = base::sys;
namespace json = base::json;

class TarWriter {
 public:
  explicit TarWriter(std::string path) : path_(std::move(path)), archive_(archive_write_new()) {
    archive_write_set_format_pax_restricted(archive_);
    archive_write_set_bytes_in_last_block(archive_, 1);
  }
  ~TarWriter() { archive_write_free(archive_); }
  Status open(int fd) {
    if (archive_write_open_fd(archive_, fd) != ARCHIVE_OK) return failed();
    return {};
  }
  Status add(const std::string& name, std::string_view data) {
    TRY(header(name, data.size()));
    return write(data);
  }
  Status add_file(const std::string& name, const std::string& from) {
    auto fd = TRY(sys::open(from, O_RDONLY));
    struct stat info;
    if (::fstat(fd.get(), &info) != 0) return sys::last_error("stat", from);
    TRY(header(name, static_cast<uint64_t>(info.st_size)));
    std::string buffer(1u << 20, '\0');
    for (;;) {
      ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return sys::last_error("read", from);
      if (n == 0) return {};
      TRY(write({buffer.data(), static_cast<size_t>(n)}));
    }
  }
  Status finish() {
    if (archive_write_close(archive_) != ARCHIVE_OK) return failed();
    return {};
  }

 private:
  base::Error failed() {
    int code = archive_errno(archive_);
    base::Error error =
        code > 0 ? sys::error_from_errno(code, "write", path_) : make_error(Kind::kInternal, "write", path_);
    if (code <= 0 && archive_error_string(archive_)) error.reason = archive_error_string(archive_);
    return error;
  }
  Status header(const std::string& name, uint64_t size) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, static_cast<la_int64_t>(size));
    archive_entry_set_mtime(entry, 0, 0);
    int code = archive_write_header(archive_, entry);
    archive_entry_free(entry);
    return code == ARCHIVE_OK ? Status{} : Status{failed()};
  }
  Status write(std::string_view data) {
    while (!data.empty()) {
      la_ssize_t n = archive_write_data(archive_, data.data(), data.size());
      if (n <= 0) return failed();
      data.remove_prefix(static_cast<size_t>(n));
    }
    return {};
  }
  std::string path_;
  archive* archive_;
};

std::string member(std::string_view digest) { return "blobs/sha256/" + std::string(digest_hex(digest)); }

struct Saving {
  json::array index, docker;
  std::vector<std::string> blobs;  // in order, each once
  std::set<std::string> seen;
  void blob(const std::string& digest) {
    if (seen.insert(digest).second) blobs.push_back(digest);
  }
};

Status add_image(const std::string& root, const std::string& name, const IndexEntry& entry, Saving* saving) {
  std::string text = TRY(sys::read_file(blob_path(root, entry.manifest), kMaxManifestBytes));
  Manifest manifest = TRY(parse_manifest(text, name));
  auto value = TRY(base::parse_json(text));
  std::string type(base::string_at(value, "mediaType"));
  saving->blob(entry.manifest);
  saving->blob(entry.config);
  json::array layers;
  for (const Descriptor& layer : manifest.layers) {
    saving->blob(layer.digest);
    layers.emplace_back(member(layer.digest));
  }
  ImageReference reference = TRY(parse_image_reference(name));
  json::object annotations{{"io.containerd.image.name", name}};
  if (!reference.tag.empty()) annotations["org.opencontainers.image.ref.name"] = reference.tag;
  saving->index.push_back(json::object{{"mediaType", type.empty() ? std::string(media::kOciManifest) : type},
                                       {"digest", entry.manifest},
                                       {"size", text.size()},
                                       {"annotations", std::move(annotations)}});
  json::array tags;
  if (!reference.tag.empty()) tags.emplace_back(reference.repository() + ":" + reference.tag);
  saving->docker.push_back(json::object{
      {"Config", member(entry.config)}, {"RepoTags", std::move(tags)}, {"Layers", std::move(layers)}});
  return {};
}

std::string index_json(const Saving& saving) {
  return base::to_json(json::object{{"schemaVersion", 2}, {"manifests", saving.index}});
}
constexpr std::string_view kLayout = R"({"imageLayoutVersion":"1.0.0"})";

Status write_archive(const std::string& image_root, const Saving& saving, int fd, const std::string& path) {
  TarWriter tar(path);
  TRY(tar.open(fd));
  TRY(tar.add("oci-layout", kLayout));
  TRY(tar.add("index.json", index_json(saving)));
  TRY(tar.add("manifest.json", base::to_json(saving.docker)));
  for (const std::string& digest : saving.blobs)
    TRY(tar.add_file(member(digest), blob_path(image_root, digest)));
  return tar.finish();
}

Status save_archive(const std::string& image_root, const Saving& saving, const std::string& path) {
  if (path == "-") return write_archive(image_root, saving, 1, "stdout");
  std::string temporary = path + ".part";
  auto write = [&]() -> Status {
    auto fd = TRY(sys::open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    TRY(write_archive(image_root, saving, fd.get(), path));
    if (::fsync(fd.get()) != 0) return sys::last_error("fsync", temporary);
    if (::rename(temporary.c_str(), path.c_str()) != 0) return sys::last_error("rename", path);
    return {};
  };
  auto status = write();
  if (!status.ok()) ::unlink(temporary.c_str());
  return status;
}

Status copy_file(const std::string& from, const std::string& to) {
  auto in = TRY(sys::open(from, O_RDONLY));
  auto out = TRY(sys::open(to, O_WRONLY | O_CREAT | O_EXCL, 0644));
  std::string buffer(1u << 20, '\0');
  for (;;) {
    ssize_t n = ::read(in.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sys::last_error("read", from);
    if (n == 0) break;
    TRY_WRAP(sys::write_all(out.get(), std::string_view(buffer).substr(0, static_cast<size_t>(n))), "write",
             to);
  }
  if (::fsync(out.get()) != 0) return sys::last_error("fsync", to);
  return {};
}

Status save_directory(const std::string& image_root, const Saving& saving, const std::string& path) {
  if (sys::exists(path))
    return make_error(Kind::kExists, "save images", path, "it is there already", "name a new directory");
  std::string temporary = path + ".part";
  TRY(sys::remove_all(temporary));
  auto write = [&]() -> Status {
    TRY(sys::mkdir_all(temporary + "/blobs/sha256", 0755));
    for (const std::string& digest : saving.blobs)
      TRY(copy_file(blob_path(image_root, digest), temporary + "/" + member(digest)));
    TRY(sys::write_file_atomic(temporary + "/oci-layout", kLayout));
    TRY(sys::write_file_atomic(temporary + "/index.json", index_json(saving)));
    if (::rename(temporary.c_str(), path.c_str()) != 0) return sys::last_error("rename", path);
    return {};
  };
  auto status = write();
  if (!status.ok()) base::ignore(sys::remove_all(temporary), "the first error counts");
  return status;
}

}  // namespace

Status save_images(const std::string& image_root, const std::vector<std::string>& names,
                   const std::string& path, SaveAs as) {
  // The shared lock: gc waits while we read.
  StoreWriter store = TRY(StoreWriter::open(image_root));
  ImageIndex index = TRY(read_image_index(image_root));
  Saving saving;
  for (const std::string& name : names) {
    std::string key = TRY(parse_image_reference(name)).text();
    auto found = index.find(key);
    if (found == index.end())
      return make_error(Kind::kNotFound, "save image", key, "not in " + image_root,
                        "sampan image list shows what is");
    TRY_WRAP(add_image(image_root, key, found->second, &saving), "save image", key);
  }
  return as == SaveAs::kDirectory ? save_directory(image_root, saving, path)
                                  : save_archive(image_root, saving, path);
}

}  // namespace runtime
