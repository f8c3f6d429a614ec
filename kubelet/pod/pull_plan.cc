// In the kubelet's words: k8s.io/kubernetes/pkg/kubelet/images/image_manager.go says the same.
#include "kubelet/pod/pull_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "kubelet/pod/plan.h"

namespace kubelet {

namespace {

std::string seconds_text(Duration d) {
  const double s = std::chrono::duration<double>(d).count();
  return s < 1 ? fmt::format("{}ms", static_cast<int>(s * 1000)) : fmt::format("{:.3f}s", s);
}

PullStep begin(const ImageSeen& before) {
  PullStep out;
  out.image = before;
  out.image.looking = out.image.pulling = false;
  return out;
}

void fail(PullStep& out, std::string reason, std::string message, Duration backoff, Time now) {
  out.image.reason = std::move(reason);
  out.image.message = std::move(message);
  out.image.failed_at = now;
  out.image.backoff = backoff;
}

}  // namespace

PullStep bad_image_name(const std::string& image, const ImageSeen& before, const base::Error& error,
                        Time now) {
  PullStep out = begin(before);
  const std::string text = "Failed to apply default image tag \"" + image +
                           "\": couldn't parse image name \"" + image + "\": " + error.reason;
  out.events = {{true, "InspectFailed", text}, {true, "Failed", "Error: InvalidImageName"}};
  fail(out, "InvalidImageName", text, kBackoffMax, now);
  return out;
}

PullStep plan_pull(const std::string& image, const std::string& policy, const ImageSeen& before,
                   const base::Result<std::string>& found, bool must_pull, Time now) {
  PullStep out = begin(before);
  if (policy != "Always") {
    if (found.ok() && !must_pull) {
      out.image = {};
      out.image.present = true;
      out.image.digest = *found;
      out.events = {
          {false, "Pulled",
           "Container image \"" + image + "\" already present on machine and can be accessed by the pod"}};
      return out;
    }
    if (!found.ok() && found.error().kind != base::Kind::kNotFound) {
      out.events = {
          {true, "Failed", "Failed to inspect image \"" + image + "\": " + found.error().message()}};
      fail(out, "ImageInspectError", found.error().message(), kBackoffFirst, now);
      return out;
    }
    if (policy == "Never") {
      const std::string text = "Container image \"" + image + "\" is not present with pull policy of Never";
      if (before.reason.empty())
        out.events = {{true, "ErrImageNeverPull", text}, {true, "Failed", "Error: ErrImageNeverPull"}};
      fail(out, "ErrImageNeverPull", text, kBackoffFirst, now);
      return out;
    }
  }
  out.pull = out.image.pulling = true;
  out.events = {{false, "Pulling", "Pulling image \"" + image + "\""}};
  return out;
}

PullStep pull_ended(const std::string& image, int attempt, const ImageSeen& before,
                    const base::Result<PulledImage>& result, Time now) {
  PullStep out = begin(before);
  if (!result.ok()) {
    const std::string why = "ailed to pull image \"" + image + "\": " + result.error().message();
    out.events = {{true, "Failed", "F" + why}, {true, "Failed", "Error: ErrImagePull"}};
    fail(out, "ErrImagePull", "f" + why,
         before.backoff == Duration::zero() ? kBackoffFirst
                                            : std::min<Duration>(before.backoff * 2, kBackoffMax),
         now);
    return out;
  }
  out.image = {};
  out.image.present = true;
  out.image.digest = result->digest;
  out.image.pulled_attempt = attempt;
  const std::string size =
      result->size_bytes ? " Image size: " + std::to_string(*result->size_bytes) + " bytes." : "";
  out.events = {{false, "Pulled",
                 "Successfully pulled image \"" + image + "\" in " + seconds_text(result->took) + " (" +
                     seconds_text(result->waited) + " including waiting)." + size}};
  return out;
}

std::string PullStep::text() const {
  std::string out = pull            ? "pull"
                    : image.present ? "present " + image.digest
                                    : image.reason + " for " + seconds_text(image.backoff);
  for (const auto& event : events)
    out += "\n" + std::string(event.warning ? "Warning " : "Normal ") + event.reason + ": " + event.message;
  return out + "\n";
}

}  // namespace kubelet
