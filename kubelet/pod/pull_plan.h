// Whether an image that is on the node will do, or must be pulled, or can't be had: what a container's pull
// comes to once the store was asked, and once the registry was. Pure, Events included.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "kubelet/pod/observed.h"

namespace kubelet {

struct PodEvent {
  bool warning = false;
  std::string reason, message;
};
struct PullStep {
  ImageSeen image;  // from now on
  bool pull = false;
  std::vector<PodEvent> events;
  std::string text() const;  // "pull", "present sha256:1", "ErrImagePull for 10s"; then its events
};

// No registry would accept the name.
PullStep bad_image_name(const std::string& image, const ImageSeen& before, const base::Error& error,
                        Time now);
// `found`: digest of the image in the store, kNotFound when there is none. `must_pull`: these credentials
// have to be shown for one that is there; whose Pod may not have it learns not even that it is.
PullStep plan_pull(const std::string& image, const std::string& policy, const ImageSeen& before,
                   const base::Result<std::string>& found, bool must_pull, Time now);
struct PulledImage {
  std::string digest;
  Duration took{}, waited{};
  std::optional<uint64_t> size_bytes;
};
PullStep pull_ended(const std::string& image, int attempt, const ImageSeen& before,
                    const base::Result<PulledImage>& result, Time now);

}  // namespace kubelet
