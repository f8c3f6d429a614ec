// What a pull comes to, as text: the image from then on, and the Events that say so.
#include "kubelet/pod/pull_plan.h"

#include <gtest/gtest.h>

#include "kubelet/pod/plan.h"

namespace kubelet {
namespace {

const Time kNow = *base::parse_time("2026-01-01T00:00:00Z");
const base::Result<std::string> kThere = std::string("sha256:1");
base::Result<std::string> absent() {
  return base::make_error(base::Kind::kNotFound, "find image", "x:1", "no such image");
}
std::string decided(const std::string& policy, const base::Result<std::string>& found, bool must_pull = false,
                    const ImageSeen& before = {}) {
  return plan_pull("x:1", policy, before, found, must_pull, kNow).text();
}

TEST(PullPlan, WhatIsThereIsUsed) {
  const std::string used =
      "present sha256:1\nNormal Pulled: Container image \"x:1\" already present on machine and can be "
      "accessed by "
      "the pod\n";
  EXPECT_EQ(decided("IfNotPresent", kThere), used);
  EXPECT_EQ(decided("Never", kThere), used);
}

TEST(PullPlan, WhatIsNotIsPulled) {
  const std::string pulls = "pull\nNormal Pulling: Pulling image \"x:1\"\n";
  EXPECT_EQ(decided("IfNotPresent", absent()), pulls);
  EXPECT_EQ(decided("Always", kThere), pulls);
  EXPECT_EQ(decided("IfNotPresent", kThere, true), pulls);
}

TEST(PullPlan, NeverSaysSoOnceAndNotWhatOthersMayHave) {
  const std::string refused =
      "ErrImageNeverPull for 10.000s\nWarning ErrImageNeverPull: Container image \"x:1\" is not present with "
      "pull "
      "policy of Never\nWarning Failed: Error: ErrImageNeverPull\n";
  EXPECT_EQ(decided("Never", absent()), refused);
  EXPECT_EQ(decided("Never", kThere, true), refused);
  const ImageSeen refused_once = plan_pull("x:1", "Never", {}, absent(), false, kNow).image;
  EXPECT_EQ(decided("Never", absent(), false, refused_once), "ErrImageNeverPull for 10.000s\n");
}

TEST(PullPlan, AStoreThatCannotBeReadIsNoMissingImage) {
  const auto broken = base::make_error(base::Kind::kCorrupt, "read", "images.json", "not JSON");
  EXPECT_EQ(decided("IfNotPresent", broken),
            "ImageInspectError for 10.000s\nWarning Failed: Failed to inspect image "
            "\"x:1\": " +
                broken.message() + "\n");
}

TEST(PullPlan, FailuresDoubleTheirBackOffToFiveMinutes) {
  ImageSeen image;
  const auto failed = base::make_error(base::Kind::kUnavailable, "", "", "no such host");
  std::string waits;
  for (int i = 0; i < 7; ++i) {
    PullStep step = pull_ended("x:1", 0, image, failed, kNow);
    if (i == 0) {
      EXPECT_EQ(step.text(),
                "ErrImagePull for 10.000s\nWarning Failed: Failed to pull image \"x:1\": no such host\n"
                "Warning Failed: Error: ErrImagePull\n");
      EXPECT_EQ(step.image.message, "failed to pull image \"x:1\": no such host");
    }
    image = step.image;
    EXPECT_FALSE(image.pulling);
    waits += std::to_string(std::chrono::duration_cast<std::chrono::seconds>(image.backoff).count()) + " ";
  }
  EXPECT_EQ(waits, "10 20 40 80 160 300 300 ");
}

TEST(PullPlan, ASuccessForgetsThem) {
  ImageSeen before;
  before.reason = "ErrImagePull";
  before.backoff = kBackoffMax;
  const PullStep step = pull_ended("x:1", 3, before,
                                   PulledImage{.digest = "sha256:2",
                                               .took = std::chrono::milliseconds(40),
                                               .waited = std::chrono::milliseconds(1500),
                                               .size_bytes = 7},
                                   kNow);
  EXPECT_EQ(step.text(),
            "present sha256:2\nNormal Pulled: Successfully pulled image \"x:1\" in 40ms (1.500s including "
            "waiting). Image size: 7 bytes.\n");
  EXPECT_EQ(step.image.pulled_attempt, 3);
  EXPECT_EQ(step.image.backoff, Duration::zero());
}

TEST(PullPlan, ANameNoRegistryTakes) {
  EXPECT_EQ(bad_image_name("X", {}, base::make_error(base::Kind::kInvalid, "", "", "it is upper case"), kNow)
                .text(),
            "InvalidImageName for 300.000s\nWarning InspectFailed: Failed to apply default image tag \"X\": "
            "couldn't "
            "parse image name \"X\": it is upper case\nWarning Failed: Error: InvalidImageName\n");
}

}  // namespace
}  // namespace kubelet
