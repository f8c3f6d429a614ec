// What controllers keep of Services and of the objects that say where they go.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "master/controllers/store.h"

namespace master::controllers {

struct ServicePort {
  std::string name, protocol, app_protocol, target_name;  // target_name: a named targetPort
  int port = 0, target = 0;
};

struct Service {
  Meta meta;
  Labels labels;
  Selector selector;
  bool external_name = false, headless = false, publish_not_ready = false;
  std::vector<std::string> families;  // IPv4, IPv6
  std::vector<ServicePort> ports;

  static Store<Service>::Reader reader(const api::Resource& resource);
};

// Whole: an Endpoints or EndpointSlice that we write ourselves.
struct Whole {
  Meta meta;
  Labels labels;
  json::value object;

  static Store<Whole>::Reader reader(const api::Resource& resource);
  // Of a slice: its Service.
  static std::vector<std::string> terms(const Whole& object);
};

}  // namespace master::controllers
