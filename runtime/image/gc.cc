// Garbage collection of the image store: observe what is there and what is needed, plan what goes,
// remove it. Takes the store's lock alone, so nothing is being imported meanwhile.
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <set>

#include "base/json.h"
#include "base/sys.h"
#include "runtime/image/manifest.h"
#include "runtime/image/reference.h"
#include "runtime/image/writer.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
using base::Status;
namespace sys = base::sys;

struct Needed {
  std::set<std::string> blobs, layers;  // hex
};

// A digest that is listed but unreadable stops the collection: better no space than a lost image.
Status need_manifest(const std::string& root, const std::string& digest, Needed* needed) {
  needed->blobs.insert(std::string(digest_hex(digest)));
  std::string text =
      TRY_WRAP(sys::read_file(blob_path(root, digest), kMaxManifestBytes), "read manifest", digest);
  Manifest manifest = TRY(parse_manifest(text, digest));
  needed->blobs.insert(std::string(digest_hex(manifest.config.digest)));
  for (const Descriptor& layer : manifest.layers) needed->blobs.insert(std::string(digest_hex(layer.digest)));
  std::string config = TRY_WRAP(sys::read_file(blob_path(root, manifest.config.digest), kMaxConfigBytes),
                                "read image config", manifest.config.digest);
  for (const std::string& diff_id : TRY(parse_config(config, manifest.config.digest)).diff_ids)
    needed->layers.insert(std::string(digest_hex(diff_id)));
  return {};
}

// Layers that some mount namespace still has in an overlay: a container of a removed image.
void need_mounted(const std::string& root, Needed* needed) {
  auto processes = sys::list_dir("/proc");
  if (!processes.ok()) return;
  std::set<std::string> seen;
  std::string prefix = root + "/layers/";
  for (const std::string& pid : *processes) {
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    char ns[64];
    ssize_t n = ::readlink(("/proc/" + pid + "/ns/mnt").c_str(), ns, sizeof ns);
    if (n <= 0 || !seen.insert(std::string(ns, static_cast<size_t>(n))).second) continue;
    auto mounts = sys::read_file("/proc/" + pid + "/mountinfo", 64u << 20);
    if (!mounts.ok()) continue;  // it just ended
    for (size_t at = mounts->find(prefix); at != std::string::npos; at = mounts->find(prefix, at + 1)) {
      std::string hex = mounts->substr(at + prefix.size(), 64);
      if (is_digest("sha256:" + hex)) needed->layers.insert(hex);
    }
  }
}

uint64_t disk_bytes(const std::string& path) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) return 0;
  uint64_t bytes = static_cast<uint64_t>(info.st_blocks) * 512;
  if (!S_ISDIR(info.st_mode)) return bytes;
  auto names = sys::list_dir(path);
  if (names.ok())
    for (const std::string& name : *names) bytes += disk_bytes(path + "/" + name);
  return bytes;
}

}  // namespace

base::Result<GcResult> collect_garbage(const std::string& image_root, bool dry_run) {
  GcResult result;
  if (!sys::exists(image_root)) return result;
  auto lock = TRY(sys::open(image_root + "/lock", O_RDWR | O_CREAT, 0600));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return sys::last_error("lock", image_root + "/lock");
    return make_error(Kind::kConflict, "collect garbage in", image_root, "an image is being imported",
                      "try again when it is done");
  }
  Needed needed;
  for (const auto& [name, entry] : TRY(read_image_index(image_root))) {
    TRY_WRAP(need_manifest(image_root, entry.manifest, &needed), "collect garbage: image", name);
    if (!entry.index.empty()) needed.blobs.insert(std::string(digest_hex(entry.index)));
  }
  if (sys::exists(image_root + "/pins")) {
    for (const std::string& holder : TRY(sys::list_dir(image_root + "/pins"))) {
      std::string digest = TRY(sys::read_file(image_root + "/pins/" + holder, 4096));
      while (!digest.empty() && digest.back() == '\n') digest.pop_back();
      // A pin of what was never here protects nothing.
      if (is_digest(digest) && sys::exists(blob_path(image_root, digest)))
        TRY_WRAP(need_manifest(image_root, digest, &needed), "collect garbage: pin", holder);
    }
  }
  need_mounted(image_root, &needed);

  auto sweep = [&](const std::string& directory, const std::set<std::string>& keep) -> Status {
    if (!sys::exists(directory)) return {};
    for (const std::string& name : TRY(sys::list_dir(directory))) {
      if (keep.contains(name)) continue;
      std::string path = directory + "/" + name;
      result.freed_bytes += disk_bytes(path);
      result.removed.push_back(path.substr(image_root.size() + 1));
      if (dry_run) continue;
      // Out of the way in one step: a crash never leaves half a layer under a layer's name.
      std::string doomed = image_root + "/tmp/gone-" + name;
      if (::rename(path.c_str(), doomed.c_str()) != 0) return sys::last_error("rename", path);
      TRY(sys::remove_all(doomed));
    }
    return {};
  };
  if (!dry_run && sys::exists(image_root + "/tmp")) TRY(clear_temporary(image_root, true));
  TRY(sweep(image_root + "/layers", needed.layers));
  TRY(sweep(image_root + "/blobs/sha256", needed.blobs));
  return result;
}

}  // namespace runtime
