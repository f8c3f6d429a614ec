#include "runtime/image/manifest.h"

#include <sys/utsname.h>

#include "base/json.h"
#include "runtime/image/reference.h"

namespace runtime {
namespace {

using base::Kind;
namespace json = base::json;
constexpr size_t kMaxLayers = 500;  // overlayfs' own limit of lower directories
constexpr size_t kMaxIndexEntries = 1000;

base::Error bad_manifest(const std::string& operation, const std::string& subject, std::string reason) {
  return base::make_error(Kind::kInvalid, operation, subject, std::move(reason),
                          "the image is broken: build and push it again");
}

base::Result<Descriptor> descriptor_of(const json::value& value, const std::string& operation,
                                       const std::string& subject, const std::string& where) {
  Descriptor out;
  out.media_type = base::string_at(value, "mediaType");
  out.digest = base::string_at(value, "digest");
  int64_t size = base::as_int(base::find(value, "size"), -1);
  if (!is_digest(out.digest)) {
    std::string shown = out.digest.substr(0, 100);
    if (out.digest.starts_with("sha512:"))
      return base::make_error(Kind::kUnsupported, operation, subject, where + " is addressed by sha512",
                              "push the image with sha256 digests");
    return bad_manifest(operation, subject, where + ": '" + shown + "' is no digest");
  }
  if (size < 0) return bad_manifest(operation, subject, where + " has no size");
  out.size = static_cast<uint64_t>(size);
  out.platform = {std::string(base::string_at(value, "platform", "os")),
                  std::string(base::string_at(value, "platform", "architecture")),
                  std::string(base::string_at(value, "platform", "variant"))};
  out.image_name = base::string_at(value, "annotations", "io.containerd.image.name");
  out.ref_name = base::string_at(value, "annotations", "org.opencontainers.image.ref.name");
  return out;
}

}  // namespace

std::string Platform::text() const {
  return os + "/" + architecture + (variant.empty() ? "" : "/" + variant);
}

Platform host_platform() {
  utsname name{};
  ::uname(&name);
  std::string machine = name.machine;
  if (machine == "x86_64") return {"linux", "amd64", ""};
  if (machine == "aarch64") return {"linux", "arm64", "v8"};
  if (machine == "i686" || machine == "i386") return {"linux", "386", ""};
  if (machine.starts_with("armv7")) return {"linux", "arm", "v7"};
  if (machine.starts_with("armv6")) return {"linux", "arm", "v6"};
  return {"linux", machine, ""};  // riscv64, ppc64le, s390x are called the same
}

bool is_index(std::string_view text) {
  auto value = base::parse_json(text);
  return value.ok() && base::find(*value, "manifests") && !base::find(*value, "layers");
}

base::Result<Manifest> parse_manifest(std::string_view text, const std::string& subject) {
  const std::string operation = "read manifest of";
  auto value = TRY_WRAP(base::parse_json(text), operation, subject);
  if (base::as_int(base::find(value, "schemaVersion")) == 1)
    return base::make_error(Kind::kUnsupported, operation, subject, "Docker's schema 1, dead since 2019",
                            "push the image again with a current tool");
  const json::value* config = base::find(value, "config");
  const json::value* layers = base::find(value, "layers");
  if (!config || !layers || !layers->is_array())
    return bad_manifest(operation, subject, "no config or no layers");
  Manifest out;
  out.config = TRY(descriptor_of(*config, operation, subject, "config"));
  if (layers->get_array().size() > kMaxLayers)
    return bad_manifest(operation, subject, "more than 500 layers");
  for (const json::value& layer : layers->get_array()) {
    Descriptor item =
        TRY(descriptor_of(layer, operation, subject, "layer " + std::to_string(out.layers.size())));
    if (!item.media_type.empty() && item.media_type.find("tar") == std::string::npos)
      return base::make_error(Kind::kUnsupported, operation, subject,
                              "layer of type " + item.media_type.substr(0, 100) + " is no tar",
                              "this is no container image");
    out.layers.push_back(std::move(item));
  }
  if (out.config.size > kMaxConfigBytes) return bad_manifest(operation, subject, "the config is over 8 MiB");
  return out;
}

base::Result<Index> parse_index(std::string_view text, const std::string& subject) {
  const std::string operation = "read image index of";
  auto value = TRY_WRAP(base::parse_json(text), operation, subject);
  const json::value* manifests = base::find(value, "manifests");
  if (!manifests || !manifests->is_array()) return bad_manifest(operation, subject, "no manifests");
  if (manifests->get_array().size() > kMaxIndexEntries)
    return bad_manifest(operation, subject, "more than 1000 manifests");
  Index out;
  for (const json::value& item : manifests->get_array())
    out.manifests.push_back(
        TRY(descriptor_of(item, operation, subject, "manifest " + std::to_string(out.manifests.size()))));
  return out;
}

base::Result<Config> parse_config(std::string_view text, const std::string& subject) {
  const std::string operation = "read image config";
  auto value = TRY_WRAP(base::parse_json(text), operation, subject);
  const json::value* diff_ids = base::find_path(value, "rootfs", "diff_ids");
  if (!diff_ids || !diff_ids->is_array()) return bad_manifest(operation, subject, "no rootfs.diff_ids");
  Config out;
  for (const json::value& item : diff_ids->get_array()) {
    std::string_view diff_id = base::as_string(&item);
    if (!is_digest(diff_id))
      return bad_manifest(operation, subject,
                          "diff id '" + std::string(diff_id.substr(0, 100)) + "' is no digest");
    out.diff_ids.emplace_back(diff_id);
  }
  out.platform = {std::string(base::string_at(value, "os")),
                  std::string(base::string_at(value, "architecture")),
                  std::string(base::string_at(value, "variant"))};
  return out;
}

base::Result<Descriptor> choose_platform(const Index& index, const Platform& host,
                                         const std::string& subject) {
  const Descriptor* best = nullptr;
  std::string there;
  for (const Descriptor& item : index.manifests) {
    // An index with one entry and no platform is how single images are stored in a layout.
    bool any = item.platform.os.empty() && item.platform.architecture.empty();
    if (!any && !there.empty()) there += ", ";
    if (!any) there += item.platform.text();
    if (!any && (item.platform.os != host.os || item.platform.architecture != host.architecture)) continue;
    bool exact = item.platform.variant == host.variant;
    if (!best || (exact && best->platform.variant != host.variant)) best = &item;
  }
  if (best) return *best;
  return base::make_error(Kind::kNotFound, "choose platform of", subject,
                          "none for " + host.text() + (there.empty() ? "" : ", only " + there),
                          "build and push the image for this architecture");
}

std::string manifest_text(const Manifest& manifest) {
  auto object_of = [](const Descriptor& item) {
    return json::object{{"mediaType", item.media_type}, {"digest", item.digest}, {"size", item.size}};
  };
  json::array layers;
  for (const Descriptor& layer : manifest.layers) layers.push_back(object_of(layer));
  return base::to_json(json::object{{"schemaVersion", 2},
                                    {"mediaType", media::kOciManifest},
                                    {"config", object_of(manifest.config)},
                                    {"layers", std::move(layers)}});
}

}  // namespace runtime
