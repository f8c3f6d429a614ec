// `tag` and `history`: names and configs of images that are in the store.
#include "base/sys.h"
#include "runtime/image/image.h"
#include "runtime/image/manifest.h"
#include "runtime/image/reference.h"

namespace runtime {
namespace {

using base::Kind;

base::Result<IndexEntry> find_entry(const std::string& image_root, std::string_view name) {
  ImageIndex index = TRY(read_image_index(image_root));
  if (is_digest(name)) {
    for (const auto& [key, entry] : index)
      if (entry.manifest == name || entry.config == name || entry.index == name) return entry;
  } else if (auto found = index.find(TRY(parse_image_reference(name)).text()); found != index.end()) {
    return found->second;
  }
  return base::make_error(Kind::kNotFound, "find image", std::string(name), "not in " + image_root,
                          "sampan image list shows what is");
}

}  // namespace

base::Result<StoredImage> tag_image(const std::string& image_root, std::string_view source,
                                    std::string_view name) {
  // First the lock: gc must not take away what we are about to name.
  StoreWriter writer = TRY(StoreWriter::open(image_root));
  IndexEntry entry = TRY(find_entry(image_root, source));
  ImageReference reference = TRY(parse_image_reference(name));
  if (!reference.digest.empty())
    return base::make_error(Kind::kInvalid, "tag image", std::string(name), "a digest is no tag",
                            "name it REPOSITORY:TAG");
  TRY(writer.set_image(reference.text(), entry));
  return StoredImage{reference.text(), entry.manifest};
}

base::Result<std::string> image_config(const std::string& image_root, std::string_view name) {
  IndexEntry entry = TRY(find_entry(image_root, name));
  return TRY_WRAP(base::sys::read_file(blob_path(image_root, entry.config), kMaxConfigBytes),
                  "read config of", std::string(name));
}

}  // namespace runtime
