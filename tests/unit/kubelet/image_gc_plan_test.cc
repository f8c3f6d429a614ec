#include "kubelet/node/image_gc_plan.h"

#include <gtest/gtest.h>

namespace kubelet {
namespace {

using std::chrono::minutes;

const base::Time kNow = *base::parse_time("2026-01-01T00:00:00Z");

StoredImages store(uint64_t available, std::set<std::string> used = {}) {
  StoredImages out;
  out.capacity_bytes = 1000;
  out.available_bytes = available;
  out.used = std::move(used);
  out.by_digest["a"] = {.names = {"a:1", "a:latest"}, .size_bytes = 10};
  out.by_digest["b"] = {.names = {"b:1"}, .size_bytes = 20};
  out.by_digest["c"] = {.names = {"c:1"}, .size_bytes = 30};
  return out;
}
std::string remove(const StoredImages& stored, const ImageSightings& seen, uint64_t wanted, base::Time now) {
  std::string out;
  for (const auto& name : plan_image_gc(stored, seen, {}, wanted, now).remove) out += name + " ";
  return out;
}

TEST(ImageGc, FreesDownToTheLowThreshold) {
  EXPECT_EQ(bytes_to_free(store(160), {}), std::nullopt);
  EXPECT_EQ(bytes_to_free(store(150), {}), 50u);
  EXPECT_EQ(bytes_to_free(store(0), {}), 200u);
  EXPECT_EQ(bytes_to_free(store(0), {.high_percent = 100}), std::nullopt);
  EXPECT_EQ(bytes_to_free({}, {}), std::nullopt) << "a disk of no size";
  StoredImages huge;
  huge.capacity_bytes = UINT64_MAX;
  EXPECT_GT(bytes_to_free(huge, {}).value(), UINT64_MAX / 100 * 19);
}

TEST(ImageGc, WhatIsUnusedForLongestGoesFirst) {
  ImageSightings seen;
  note_images(store(0, {"a"}), kNow, seen);
  note_images(store(0, {"b"}), kNow + minutes(5), seen);
  EXPECT_EQ(remove(store(0), seen, 1, kNow + minutes(6)), "c:1 ");
  EXPECT_EQ(remove(store(0), seen, 31, kNow + minutes(6)), "c:1 a:1 a:latest ");
  EXPECT_EQ(remove(store(0), seen, 1000, kNow + minutes(6)), "c:1 a:1 a:latest b:1 ");
  EXPECT_EQ(remove(store(0, {"c", "a"}), seen, 1000, kNow + minutes(6)), "b:1 ")
      << "never what a container holds";
}

TEST(ImageGc, ANewImageStaysAWhile) {
  ImageSightings seen;
  StoredImages first = store(0);
  first.by_digest.erase("c");
  note_images(first, kNow, seen);
  note_images(store(0), kNow + minutes(5), seen);
  EXPECT_EQ(remove(store(0), seen, 1000, kNow + minutes(6)), "a:1 a:latest b:1 ")
      << "what the first pass found is old";
  EXPECT_EQ(remove(store(0), seen, 1000, kNow + minutes(7)), "a:1 a:latest b:1 c:1 ");
  note_images(first, kNow + minutes(8), seen);
  EXPECT_FALSE(seen.by_digest.contains("c")) << "what is gone is forgotten";
}

}  // namespace
}  // namespace kubelet
