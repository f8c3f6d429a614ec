#include "kubelet/node/image_gc_plan.h"

#include <algorithm>

namespace kubelet {

void note_images(const StoredImages& stored, base::Time now, ImageSightings& sightings) {
  for (const auto& [digest, image] : stored.by_digest) {
    auto& seen =
        sightings.by_digest
            .try_emplace(digest, ImageSightings::Image{.first_seen = sightings.begun ? now : base::Time{},
                                                       .last_used = {}})
            .first->second;
    if (stored.used.contains(digest)) seen.last_used = now;
  }
  std::erase_if(sightings.by_digest,
                [&](const auto& entry) { return !stored.by_digest.contains(entry.first); });
  sightings.begun = true;
}

std::optional<uint64_t> bytes_to_free(const StoredImages& stored, const ImageGcPolicy& policy) {
  if (stored.capacity_bytes == 0 || policy.high_percent >= 100) return std::nullopt;
  const uint64_t available = std::min(stored.available_bytes, stored.capacity_bytes);
  // In parts of a hundred: bytes times 100 would not fit for the largest disks.
  const uint64_t part = std::max<uint64_t>(1, stored.capacity_bytes / 100);
  const auto used_percent = 100 - static_cast<int>(std::min<uint64_t>(100, available / part));
  if (used_percent < policy.high_percent) return std::nullopt;
  const uint64_t free_then =
      part * static_cast<uint64_t>(100 - std::clamp(policy.low_percent, 0, policy.high_percent));
  return free_then > available ? free_then - available : 0;
}

ImageGcPlan plan_image_gc(const StoredImages& stored, const ImageSightings& sightings,
                          const ImageGcPolicy& policy, uint64_t wanted_bytes, base::Time now) {
  struct Candidate {
    base::Time last_used, first_seen;
    const StoredImages::Image* image;
  };
  std::vector<Candidate> candidates;
  for (const auto& [digest, image] : stored.by_digest) {
    auto seen = sightings.by_digest.find(digest);
    if (stored.used.contains(digest) || seen == sightings.by_digest.end()) continue;
    // One that was just pulled is about to be used.
    if (now - seen->second.first_seen < policy.min_age) continue;
    candidates.push_back({seen->second.last_used, seen->second.first_seen, &image});
  }
  std::stable_sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::pair(a.last_used, a.first_seen) < std::pair(b.last_used, b.first_seen);
  });
  ImageGcPlan plan;
  for (const Candidate& candidate : candidates) {
    if (plan.frees_bytes >= wanted_bytes) break;
    plan.remove.insert(plan.remove.end(), candidate.image->names.begin(), candidate.image->names.end());
    plan.frees_bytes += candidate.image->size_bytes;
  }
  return plan;
}

}  // namespace kubelet
