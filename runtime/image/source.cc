#include "runtime/image/source.h"

#include <archive_entry.h>
#include <fcntl.h>
#include <linux/openat2.h>

#include <map>

#include "base/sys.h"
#include "runtime/image/tar.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
using base::UniqueFd;
namespace sys = base::sys;
constexpr size_t kMaxMembers = 20'000;
constexpr int kMaxArchiveLinks = 10;
constexpr size_t kCopyBytes = 1u << 20;

// "a/./b/../c" -> "a/c"; only a key of our map, never a path on disk.
std::string clean(std::string_view path) {
  std::vector<std::string_view> parts;
  for (size_t at = 0; at < path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    std::string_view part = path.substr(at, end - at);
    if (part == ".." && !parts.empty()) parts.pop_back();
    else if (!part.empty() && part != "." && part != "..") parts.push_back(part);
    at = end + 1;
  }
  std::string out;
  for (std::string_view part : parts) (out += out.empty() ? "" : "/") += part;
  return out;
}

base::Error missing(const std::string& archive, const std::string& path) {
  return make_error(Kind::kNotFound, "read image archive", archive, "no file " + printable(path) + " in it",
                    "it is cut short, or neither a docker save nor an OCI layout");
}

class ArchiveSource : public ImageSource {
 public:
  ArchiveSource(StoreWriter& writer, std::string name) : writer_(writer), name_(std::move(name)) {}

  base::Status fill(int fd) {
    auto reader = TRY(TarReader::open(fd, name_, TarLimits{256ull << 30, kMaxMembers}));
    for (;;) {
      archive_entry* entry = TRY(reader->next());
      if (!entry) return {};
      const char* raw = archive_entry_pathname(entry);
      if (!raw)
        return make_error(Kind::kInvalid, "read image archive", name_, "a member has no readable name");
      std::string path = clean(raw);
      const char* hard = archive_entry_hardlink(entry);
      if (hard) {
        links_[path] = clean(hard);
      } else if (archive_entry_filetype(entry) == AE_IFLNK) {
        const char* target = archive_entry_symlink(entry);
        links_[path] = clean(path.substr(0, path.rfind('/') + 1) + (target ? target : ""));
      } else if (archive_entry_filetype(entry) == AE_IFREG) {
        auto blob = TRY(writer_.new_blob());
        for (;;) {
          auto block = TRY(reader->next_block());
          if (block.data.empty()) break;
          // A sparse member cannot be copied block by block; no tool writes one here.
          if (static_cast<uint64_t>(block.offset) != blob.size())
            return make_error(Kind::kUnsupported, "read image archive", name_,
                              printable(path) + " is sparse");
          TRY(blob.write(block.data));
        }
        members_.erase(path);
        members_.emplace(path, Member{std::move(blob), 0, {}});
      }
    }
  }
  bool has(const std::string& path) override { return find(path) != nullptr; }
  base::Result<std::string> read(const std::string& path, size_t limit_bytes) override {
    Member* member = find(path);
    if (!member) return missing(name_, path);
    std::string at =
        member->digest.empty() ? member->blob->path() : blob_path(writer_.root(), member->digest);
    return sys::read_file(at, limit_bytes);
  }
  base::Result<Imported> import(const std::string& path, std::string_view expected) override {
    Member* member = find(path);
    if (!member) return missing(name_, path);
    if (member->digest.empty()) {
      member->size = member->blob->size();
      auto digest = writer_.commit(std::move(*member->blob), expected);
      member->blob.reset();
      if (!digest.ok()) return base::wrap(digest.error(), "import " + printable(path) + " of", name_);
      member->digest = *digest;
    }
    if (!expected.empty() && member->digest != expected)
      return make_error(Kind::kCorrupt, "import " + printable(path) + " of", name_,
                        "the content is " + member->digest);
    return Imported{member->digest, member->size};
  }

 private:
  struct Member {
    std::optional<StoreWriter::Blob> blob;  // until imported
    uint64_t size = 0;
    std::string digest;  // once imported
  };
  Member* find(const std::string& path) {
    std::string at = clean(path);
    for (int i = 0; i < kMaxArchiveLinks; ++i) {
      if (auto member = members_.find(at); member != members_.end()) return &member->second;
      auto link = links_.find(at);
      if (link == links_.end()) return nullptr;
      at = link->second;
    }
    return nullptr;
  }
  StoreWriter& writer_;
  std::string name_;
  std::map<std::string, Member> members_;
  std::map<std::string, std::string> links_;
};

class DirectorySource : public ImageSource {
 public:
  DirectorySource(StoreWriter& writer, std::string name, UniqueFd root)
      : writer_(writer), name_(std::move(name)), root_(std::move(root)) {}

  bool has(const std::string& path) override { return open(path).ok(); }
  base::Result<std::string> read(const std::string& path, size_t limit_bytes) override {
    UniqueFd fd = TRY(open(path));
    return TRY_WRAP(sys::read_all(fd.get(), limit_bytes), "read", name_ + "/" + path);
  }
  base::Result<Imported> import(const std::string& path, std::string_view expected) override {
    UniqueFd fd = TRY(open(path));
    if (!expected.empty() && writer_.has_blob(expected)) {
      struct stat info;
      if (::fstat(fd.get(), &info) != 0) return sys::last_error("stat", path);
      return Imported{std::string(expected), static_cast<uint64_t>(info.st_size)};
    }
    auto blob = TRY(writer_.new_blob());
    std::string buffer(kCopyBytes, '\0');
    for (;;) {
      ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return sys::last_error("read", name_ + "/" + path);
      if (n == 0) break;
      TRY(blob.write({buffer.data(), static_cast<size_t>(n)}));
    }
    uint64_t size = blob.size();
    std::string digest = TRY_WRAP(writer_.commit(std::move(blob), expected), "import", name_ + "/" + path);
    return Imported{std::move(digest), size};
  }

 private:
  base::Result<UniqueFd> open(const std::string& path) {
    auto fd =
        sys::openat2(root_.get(), path, O_RDONLY | O_NONBLOCK, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    if (!fd.ok() && fd.error().kind == Kind::kNotFound) return missing(name_, path);
    if (!fd.ok()) return base::wrap(fd.error(), "open in", name_);
    struct stat info;
    if (::fstat(fd->get(), &info) != 0) return sys::last_error("stat", path);
    if (!S_ISREG(info.st_mode)) return missing(name_, path);
    return fd;
  }
  StoreWriter& writer_;
  std::string name_;
  UniqueFd root_;
};

}  // namespace

base::Result<std::unique_ptr<ImageSource>> open_image_source(StoreWriter& writer, const std::string& path) {
  UniqueFd fd;
  if (path == "-") fd = UniqueFd(::fcntl(0, F_DUPFD_CLOEXEC, 3));
  else fd = TRY_WRAP(sys::open(path, O_RDONLY), "open image archive", path);
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return sys::last_error("stat", path);
  if (S_ISDIR(info.st_mode))
    return std::unique_ptr<ImageSource>(std::make_unique<DirectorySource>(writer, path, std::move(fd)));
  auto source = std::make_unique<ArchiveSource>(writer, path == "-" ? "standard input" : path);
  TRY(source->fill(fd.get()));
  return std::unique_ptr<ImageSource>(std::move(source));
}

}  // namespace runtime
