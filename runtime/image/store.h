// The image store's layout on disk and its index, for the readers (image_store.cc) and the writers
// (image_writer.cc). Internal to runtime/.
//
//   <root>/images.json            names -> digests; replaced by rename
//   <root>/blobs/sha256/<hex>     manifests, configs, layers as downloaded; verified, then renamed in
//   <root>/layers/<diff-id>/fs    one unpacked layer, whiteouts in overlayfs' form; renamed in whole
//   <root>/pins/<holder>          one manifest digest: gc keeps that image
//   <root>/tmp/                   what is under way; nothing in it is ever read as an image
//   <root>/lock, index.lock       shared by imports, exclusive for gc; exclusive for images.json
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace runtime {

struct IndexEntry {
  std::string manifest;  // digest of this machine's manifest
  std::string config;
  std::string index;        // of the multi-platform index it was chosen from; may be empty
  uint64_t size_bytes = 0;  // manifest, config and layers as downloaded
};
using ImageIndex = std::map<std::string, IndexEntry>;  // by normalized name

base::Result<ImageIndex> read_image_index(const std::string& image_root);  // absent: empty
std::string image_index_text(const ImageIndex& index);
base::Result<ImageIndex> parse_image_index(std::string_view text);

inline std::string index_path(const std::string& root) { return root + "/images.json"; }
std::string blob_path(const std::string& root, std::string_view digest);    // digest was checked
std::string layer_path(const std::string& root, std::string_view diff_id);  // without "/fs"

}  // namespace runtime
