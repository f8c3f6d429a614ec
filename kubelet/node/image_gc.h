// Garbage collection of the node's images: looks every five minutes how full the disk of the image
// store is, and runs `sampan image rm` and `gc`. Never removes what a container holds.
#pragma once

#include <string>

#include "base/loop.h"
#include "kubelet/node/background.h"
#include "kubelet/node/events.h"
#include "kubelet/node/image_gc_plan.h"
#include "kubelet/node/images.h"

namespace kubelet {

class ImageGc {
 public:
  ImageGc(base::Loop& loop, Background& background, Events& events, const Images::Options& images,
          std::string node_name, ImageGcPolicy policy)
      : loop_(loop), background_(background), events_(events), images_(images),
        node_name_(std::move(node_name)), policy_(policy) {}
  void start();  // and at once, so that a node that comes up full gets room

 private:
  enum class Stage { kLook, kSwept, kRemoved };  // what was done before this look
  void look(Stage stage);
  void looked(Stage stage, const StoredImages& stored);
  void act(Stage next, std::vector<std::string> names);

  base::Loop& loop_;
  Background& background_;
  Events& events_;
  const Images::Options& images_;
  std::string node_name_;
  ImageGcPolicy policy_;
  ImageSightings sightings_;
  uint64_t wanted_bytes_ = 0, eligible_bytes_ = 0;  // of the pass under way
  base::Loop::Handle timer_;
};

}  // namespace kubelet
