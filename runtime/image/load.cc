// `load`: a docker-archive or an OCI layout becomes images of the store. Blobs are verified on
// their way in; a docker-archive, which has no manifest of its own, gets one whose bytes depend on
// its content alone, so that loading it twice gives the same digest.
#include <fcntl.h>

#include <algorithm>

#include "base/json.h"
#include "base/sys.h"
#include "runtime/image/image.h"
#include "runtime/image/install.h"
#include "runtime/image/reference.h"
#include "runtime/image/source.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
namespace json = base::json;
constexpr size_t kMaxImages = 200;

std::string blob_member(std::string_view digest) { return "blobs/sha256/" + std::string(digest_hex(digest)); }

class Loader {
 public:
  Loader(StoreWriter& writer, ImageSource& source, std::string path, std::string name)
      : writer_(writer), source_(source), path_(std::move(path)), name_(std::move(name)) {}

  base::Result<std::vector<StoredImage>> run() {
    if (source_.has("index.json")) TRY(oci_layout());
    else if (source_.has("manifest.json")) TRY(docker_archive());
    else
      return make_error(Kind::kInvalid, "load image", path_, "neither index.json nor manifest.json in it",
                        "give an archive made by docker save, or an OCI layout");
    return std::move(loaded_);
  }

 private:
  base::Status docker_archive();
  base::Status oci_layout();
  base::Result<ToInstall> import_oci(Descriptor descriptor, int depth);
  base::Result<json::array> docker_list();
  std::vector<std::string> docker_names(const std::string& config_hex);
  base::Status install(const ToInstall& image, std::vector<std::string> names);

  StoreWriter& writer_;
  ImageSource& source_;
  std::string path_, name_;
  std::vector<StoredImage> loaded_;
};

base::Status Loader::install(const ToInstall& image, std::vector<std::string> names) {
  if (!name_.empty()) names = {name_};
  if (names.empty())
    return make_error(Kind::kInvalid, "load image", path_, "the archive gives it no name", "pass --name");
  for (std::string& name : names) name = TRY(parse_image_reference(name)).text();
  TRY(install_image(writer_, image, names));
  for (const std::string& name : names) loaded_.push_back({name, image.manifest_digest});
  return {};
}

base::Result<json::array> Loader::docker_list() {
  std::string text = TRY(source_.read("manifest.json", kMaxManifestBytes));
  auto value = TRY_WRAP(base::parse_json(text), "read manifest.json of", path_);
  if (!value.is_array() || value.get_array().empty() || value.get_array().size() > kMaxImages)
    return make_error(Kind::kInvalid, "read manifest.json of", path_, "it is no list of images");
  return std::move(value.get_array());
}

std::vector<std::string> names_of(const json::value& item) {
  std::vector<std::string> names;
  if (const json::value* tags = base::find(item, "RepoTags"); tags && tags->is_array())
    for (const json::value& tag : tags->get_array()) names.emplace_back(base::as_string(&tag));
  return names;
}

// The stored bytes decide the media type, as tools disagree about declaring it.
base::Result<std::string> layer_type(const StoreWriter& writer, std::string_view digest,
                                     std::string_view diff_id) {
  std::string type(media::kOciLayer);
  if (digest == diff_id) return type;
  auto fd = TRY(base::sys::open(blob_path(writer.root(), digest), O_RDONLY));
  char head[4] = {};
  if (::pread(fd.get(), head, sizeof head, 0) < 0) return base::sys::last_error("read", std::string(digest));
  return type + (std::string_view(head, 4) == "\x28\xb5\x2f\xfd" ? "+zstd" : "+gzip");
}

base::Status Loader::docker_archive() {
  json::array list = TRY(docker_list());
  if (!name_.empty() && list.size() != 1)
    return make_error(Kind::kInvalid, "load image", path_, "it has several images, --name can name one");
  for (const json::value& item : list) {
    auto config = TRY(source_.import(std::string(base::string_at(item, "Config")), {}));
    ToInstall image;
    image.manifest.config = {std::string(media::kOciConfig), config.digest, config.size, {}, {}, {}};
    std::string text = TRY(writer_.read_blob(config.digest, kMaxConfigBytes));
    Config parsed = TRY(parse_config(text, config.digest));
    const json::value* layers = base::find(item, "Layers");
    if (!layers || !layers->is_array() || layers->get_array().size() != parsed.diff_ids.size())
      return make_error(Kind::kInvalid, "load image", path_, "its layers do not match its config",
                        "save the image again");
    for (size_t i = 0; i < parsed.diff_ids.size(); ++i) {
      auto layer = TRY(source_.import(std::string(base::as_string(&layers->get_array()[i])), {}));
      std::string type = TRY(layer_type(writer_, layer.digest, parsed.diff_ids[i]));
      image.manifest.layers.push_back({type, layer.digest, layer.size, {}, {}, {}});
    }
    std::string manifest = manifest_text(image.manifest);
    image.manifest_bytes = manifest.size();
    image.manifest_digest = TRY(writer_.put(manifest));
    TRY(install(image, names_of(item)));
  }
  return {};
}

base::Result<ToInstall> Loader::import_oci(Descriptor descriptor, int depth) {
  auto imported = TRY(source_.import(blob_member(descriptor.digest), descriptor.digest));
  std::string text = TRY(writer_.read_blob(imported.digest, kMaxManifestBytes));
  if (is_index(text)) {
    if (depth == 0) return make_error(Kind::kInvalid, "load image", path_, "indexes nested too deep");
    Index index = TRY(parse_index(text, descriptor.digest));
    Descriptor chosen = TRY(choose_platform(index, host_platform(), descriptor.digest));
    ToInstall image = TRY(import_oci(chosen, depth - 1));
    image.index_digest = descriptor.digest;
    return image;
  }
  ToInstall image;
  image.manifest = TRY(parse_manifest(text, descriptor.digest));
  image.manifest_digest = descriptor.digest;
  image.manifest_bytes = text.size();
  std::vector<Descriptor> blobs = image.manifest.layers;
  blobs.insert(blobs.begin(), image.manifest.config);
  for (const Descriptor& blob : blobs) {
    auto got = TRY(source_.import(blob_member(blob.digest), blob.digest));
    if (got.size != blob.size)
      return make_error(Kind::kCorrupt, "load image", path_,
                        blob.digest + " has " + std::to_string(got.size) + " bytes, the manifest says " +
                            std::to_string(blob.size));
  }
  return image;
}

// Docker since 25 writes both forms; the names are sometimes only in its own.
std::vector<std::string> Loader::docker_names(const std::string& config_digest) {
  if (!source_.has("manifest.json")) return {};
  auto list = docker_list();
  if (!list.ok()) return {};
  for (const json::value& item : *list)
    if (base::string_at(item, "Config") == blob_member(config_digest)) return names_of(item);
  return {};
}

base::Status Loader::oci_layout() {
  std::string text = TRY(source_.read("index.json", kMaxManifestBytes));
  Index index = TRY(parse_index(text, path_));
  // Entries of one name are one image for several platforms.
  std::vector<std::pair<std::string, Index>> groups;
  for (Descriptor& item : index.manifests) {
    std::string name = item.image_name;
    bool whole = item.ref_name.find_first_of(":/") != std::string::npos;  // else it is only a tag
    if (name.empty() && whole) name = item.ref_name;
    auto group = std::find_if(groups.begin(), groups.end(), [&](auto& have) { return have.first == name; });
    if (group == groups.end()) group = groups.insert(groups.end(), {name, {}});
    group->second.manifests.push_back(std::move(item));
  }
  if (groups.empty()) return make_error(Kind::kInvalid, "load image", path_, "its index is empty");
  if (!name_.empty() && groups.size() != 1)
    return make_error(Kind::kInvalid, "load image", path_, "it has several images, --name can name one");
  for (auto& [name, group] : groups) {
    Descriptor chosen = group.manifests.size() == 1 ? group.manifests[0]
                                                    : TRY(choose_platform(group, host_platform(), path_));
    ToInstall image = TRY(import_oci(chosen, 2));
    std::vector<std::string> names;
    if (!name.empty()) names.push_back(name);
    else names = docker_names(image.manifest.config.digest);
    TRY(install(image, std::move(names)));
  }
  return {};
}

}  // namespace

base::Result<std::vector<StoredImage>> load_images(const std::string& image_root, const std::string& path,
                                                   std::string_view name) {
  if (!name.empty()) TRY(parse_image_reference(name));
  StoreWriter writer = TRY(StoreWriter::open(image_root));
  auto load = [&]() -> base::Result<std::vector<StoredImage>> {
    auto source = TRY(open_image_source(writer, path));
    return Loader(writer, *source, path, std::string(name)).run();
  };
  return explain_disk_full(image_root, load());
}

}  // namespace runtime
