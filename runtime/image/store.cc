// The reading half of the image store: no network, no archives, no locks. What is listed in
// images.json is complete on disk, so a reader needs nothing but it and the config blob.
#include "runtime/image/store.h"

#include <unistd.h>

#include <cerrno>

#include "base/json.h"
#include "base/sys.h"
#include "runtime/image/reference.h"
#include "runtime/runtime.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
constexpr size_t kMaxIndexBytes = 64u << 20;
constexpr size_t kMaxStoredConfigBytes = 8u << 20;
constexpr size_t kMaxMountedLayers = 500;  // overlayfs itself stops at 500 lower directories

base::Error corrupt(const std::string& what, const std::string& path, std::string reason) {
  return make_error(Kind::kCorrupt, what, path, std::move(reason),
                    "remove the image and pull or load it again");
}

std::vector<std::string> strings_of(const base::json::value* value) {
  std::vector<std::string> out;
  if (!value || !value->is_array()) return out;
  for (const auto& item : value->get_array()) out.emplace_back(base::as_string(&item));
  return out;
}

base::Result<Image> read_image(const std::string& root, const std::string& name, const IndexEntry& entry) {
  Image image;
  image.name = name;
  image.digest = entry.manifest;
  image.config_digest = entry.config;
  image.size_bytes = entry.size_bytes;
  std::string path = blob_path(root, entry.config);
  auto text = base::sys::read_file(path, kMaxStoredConfigBytes);
  if (!text.ok()) {
    base::Error error = base::wrap(text.error(), "read image", name);
    if (text.error().kind == Kind::kNotFound) error.kind = Kind::kCorrupt;
    error.hint = "remove the image and pull or load it again";
    return error;
  }
  auto config = TRY_WRAP(base::parse_json(*text), "read image config", path);
  if (const auto* part = base::find(config, "config")) {
    image.entrypoint = strings_of(base::find(*part, "Entrypoint"));
    image.cmd = strings_of(base::find(*part, "Cmd"));
    image.env = strings_of(base::find(*part, "Env"));
    image.user = base::string_at(*part, "User");
    image.working_dir = base::string_at(*part, "WorkingDir");
    image.stop_signal = base::string_at(*part, "StopSignal");
  }
  for (const std::string& diff_id : strings_of(base::find_path(config, "rootfs", "diff_ids"))) {
    if (!is_digest(diff_id)) return corrupt("read image config", path, "a diff id is no digest");
    if (image.layers.size() == kMaxMountedLayers)
      return corrupt("read image config", path, "over 500 layers");
    std::string layer = layer_path(root, diff_id) + "/fs";
    if (!base::sys::exists(layer)) return corrupt("find layer of " + name, layer, "it is missing");
    image.layers.push_back(std::move(layer));
  }
  return image;
}

}  // namespace

std::string blob_path(const std::string& root, std::string_view digest) {
  return root + "/blobs/sha256/" + std::string(digest_hex(digest));
}
std::string layer_path(const std::string& root, std::string_view diff_id) {
  return root + "/layers/" + std::string(digest_hex(diff_id));
}

base::Result<ImageIndex> parse_image_index(std::string_view text) {
  auto value = TRY(base::parse_json(text));
  const auto* images = base::find(value, "images");
  if (!images || !images->is_object())
    return make_error(Kind::kCorrupt, "parse image index", {}, "no member 'images'");
  ImageIndex index;
  for (const auto& [key, item] : images->get_object()) {
    IndexEntry entry;
    entry.manifest = base::string_at(item, "manifest");
    entry.config = base::string_at(item, "config");
    entry.index = base::string_at(item, "index");
    entry.size_bytes = static_cast<uint64_t>(base::as_int(base::find(item, "size")));
    if (!is_digest(entry.manifest) || !is_digest(entry.config) ||
        (!entry.index.empty() && !is_digest(entry.index)))
      return make_error(Kind::kCorrupt, "parse image index", std::string(key), "bad digest");
    index.emplace(std::string(key), std::move(entry));
  }
  return index;
}

std::string image_index_text(const ImageIndex& index) {
  // One line per image: a person reads this file too.
  std::string out = "{\"version\":1,\"images\":{";
  const char* separator = "\n";
  for (const auto& [name, entry] : index) {
    base::json::object item{
        {"manifest", entry.manifest}, {"config", entry.config}, {"size", entry.size_bytes}};
    if (!entry.index.empty()) item["index"] = entry.index;
    out += separator + base::to_json(base::json::value(name)) + ":" + base::to_json(item);
    separator = ",\n";
  }
  return out + "\n}}\n";
}

base::Result<ImageIndex> read_image_index(const std::string& image_root) {
  std::string path = index_path(image_root);
  auto text = base::sys::read_file(path, kMaxIndexBytes);
  if (!text.ok() && text.error().kind == Kind::kNotFound) return ImageIndex{};
  if (!text.ok()) return base::wrap(text.error(), "read image index", path);
  return TRY_WRAP(parse_image_index(*text), "read image index", path);
}

base::Result<std::string> normalize_image_name(std::string_view name) {
  return TRY(parse_image_reference(name)).text();
}

base::Result<Image> find_image(const std::string& image_root, std::string_view name) {
  ImageIndex index = TRY(read_image_index(image_root));
  if (is_digest(name)) {  // an image id: of the config, as docker has it, or of the manifest
    for (const auto& [key, entry] : index)
      if (entry.config == name || entry.manifest == name || entry.index == name)
        return read_image(image_root, key, entry);
  } else {
    ImageReference wanted = TRY(parse_image_reference(name));
    if (auto found = index.find(wanted.text()); found != index.end())
      return read_image(image_root, found->first, found->second);
    if (!wanted.digest.empty()) {  // the digest decides, whatever tag it was pulled by
      for (const auto& [key, entry] : index) {
        if (entry.manifest != wanted.digest && entry.index != wanted.digest) continue;
        auto have = parse_image_reference(key);
        if (have.ok() && have->repository() == wanted.repository()) return read_image(image_root, key, entry);
      }
    }
  }
  return make_error(Kind::kNotFound, "find image", std::string(name), "not in " + image_root,
                    "sampan image pull or sampan image load brings it");
}

namespace {
base::Result<std::string> pin_path(const std::string& root, const std::string& holder) {
  bool plain = !holder.empty() && holder.size() <= 200 && holder != "." && holder != "..";
  for (char c : holder)
    plain &= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
             c == '.' || c == '-';
  if (!plain) return make_error(Kind::kInvalid, "pin image for", holder, "no file name could be made of it");
  return root + "/pins/" + holder;
}
}  // namespace

base::Status pin_image(const std::string& image_root, const std::string& holder, const std::string& digest) {
  if (!is_digest(digest))
    return make_error(Kind::kInvalid, "pin image for", holder, "'" + digest + "' is no digest");
  std::string path = TRY(pin_path(image_root, holder));
  // Not synced: after a power loss there is no holder, until a new start pins again.
  if (auto pinned = base::sys::read_file(path, 4096); pinned.ok() && *pinned == digest + "\n") return {};
  TRY_WRAP(base::sys::replace_file(path, digest + "\n", 0644), "pin image for", holder);
  return {};
}
base::Status unpin_image(const std::string& image_root, const std::string& holder) {
  std::string path = TRY(pin_path(image_root, holder));
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return base::sys::last_error("unlink", path);
  return {};
}

base::Result<std::set<std::string>> pinned_images(const std::string& image_root) {
  std::set<std::string> digests;
  auto holders = base::sys::list_dir(image_root + "/pins");
  if (!holders.ok() && holders.error().kind == Kind::kNotFound) return digests;
  for (const std::string& holder : TRY(std::move(holders))) {
    auto digest = base::sys::read_file(image_root + "/pins/" + holder, 4096);
    if (!digest.ok() && digest.error().kind == Kind::kNotFound) continue;  // let go just now
    std::string text = TRY(std::move(digest));
    while (!text.empty() && text.back() == '\n') text.pop_back();
    digests.insert(std::move(text));
  }
  return digests;
}

base::Result<std::vector<Image>> list_images(const std::string& image_root) {
  std::vector<Image> images;
  for (const auto& [name, entry] : TRY(read_image_index(image_root)))
    images.push_back(TRY(read_image(image_root, name, entry)));
  return images;
}

}  // namespace runtime
