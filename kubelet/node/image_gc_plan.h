// Which images go when the disk fills: pure, from what is there, what is used and how full it is.
// Rules and defaults: k8s.io/kubernetes/pkg/kubelet/images/image_gc_manager.go.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"

namespace kubelet {

struct ImageGcPolicy {
  int high_percent = 85;  // so full: images go; 100: never
  int low_percent = 80;   // until it is so full
  base::Duration min_age = std::chrono::minutes(2);
};
struct StoredImages {
  struct Image {
    std::vector<std::string> names;
    uint64_t size_bytes = 0;
  };
  std::map<std::string, Image> by_digest;
  std::set<std::string> used;  // digests that some container holds
  uint64_t capacity_bytes = 0, available_bytes = 0;
};
// What was seen of an image so far; kept by the driver from pass to pass.
struct ImageSightings {
  struct Image {
    base::Time first_seen{}, last_used{};
  };
  std::map<std::string, Image> by_digest;
  bool begun = false;  // what the first pass finds is old
};
void note_images(const StoredImages& stored, base::Time now, ImageSightings& sightings);

// Bytes to free; nullopt while there is room.
std::optional<uint64_t> bytes_to_free(const StoredImages& stored, const ImageGcPolicy& policy);
struct ImageGcPlan {
  std::vector<std::string> remove;  // names, those unused for the longest time first
  uint64_t frees_bytes = 0;
};
ImageGcPlan plan_image_gc(const StoredImages& stored, const ImageSightings& sightings,
                          const ImageGcPolicy& policy, uint64_t wanted_bytes, base::Time now);

}  // namespace kubelet
