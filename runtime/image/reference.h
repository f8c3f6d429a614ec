// The names of images and the digests they stand for: the grammar of the distribution project,
// with Docker's short forms. Pure; never touches a file or the network.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace runtime {

struct ImageReference {
  std::string domain;  // "docker.io", "localhost:5000"
  std::string path;    // "library/nginx"
  std::string tag;     // "1.22"; empty only when there is a digest
  std::string digest;  // "sha256:<64 hex>"; empty when the image is named by tag alone

  std::string repository() const { return domain + "/" + path; }
  std::string text() const;  // "docker.io/library/nginx:1.22"
};
// Short forms are completed: domain docker.io, path library/…, tag latest. kInvalid otherwise.
base::Result<ImageReference> parse_image_reference(std::string_view name);

// "sha256:" and 64 lower-case hex digits. Digests become file names: every one that comes from
// outside is checked with this first.
bool is_digest(std::string_view text);
// The 64 hex digits of a digest that was checked.
std::string_view digest_hex(std::string_view digest);

}  // namespace runtime
