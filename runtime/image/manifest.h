// Manifests, indexes and configs of images, Docker's and OCI's, as plain values. Pure: bytes in,
// values or an error out; everything that comes from outside is checked here once.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace runtime {

constexpr size_t kMaxManifestBytes = 4u << 20;  // distribution-spec: registries take 4 MiB
constexpr size_t kMaxConfigBytes = 8u << 20;

namespace media {
constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
constexpr std::string_view kDockerList = "application/vnd.docker.distribution.manifest.list.v2+json";
constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
}  // namespace media

struct Platform {
  std::string os, architecture, variant;
  std::string text() const;  // "linux/arm64/v8"
};
Platform host_platform();

struct Descriptor {
  std::string media_type, digest;
  uint64_t size = 0;
  Platform platform;                 // of an index' entries
  std::string image_name, ref_name;  // annotations io.containerd.image.name, …ref.name
};
struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;
};
struct Index {
  std::vector<Descriptor> manifests;
};
struct Config {
  std::vector<std::string> diff_ids;
  Platform platform;
};

// `subject` stands in errors: a reference or a digest.
bool is_index(std::string_view text);  // by content, as media types are often missing
base::Result<Manifest> parse_manifest(std::string_view text, const std::string& subject);
base::Result<Index> parse_index(std::string_view text, const std::string& subject);
base::Result<Config> parse_config(std::string_view text, const std::string& subject);
// The entry for `host`; kNotFound names what there is.
base::Result<Descriptor> choose_platform(const Index& index, const Platform& host,
                                         const std::string& subject);
std::string manifest_text(const Manifest& manifest);  // OCI

}  // namespace runtime
