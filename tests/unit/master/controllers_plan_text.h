// Objects written as one line of text for the golden tests of plans.
#pragma once

#include <gtest/gtest.h>

#include <sstream>

#include "master/controllers/nodes.h"
#include "master/controllers/services.h"
#include "master/controllers/workloads.h"

namespace master::controllers::golden {

constexpr base::Time kNow{std::chrono::seconds(1800000000)};

inline base::Time ago(int seconds) { return kNow - std::chrono::seconds(seconds); }

// "web-1 owner=u1 app=web node=n1 phase=Running ready=100 created=200 restarts=2 ip=10.0.0.1 deleting"
// times are seconds ago.
inline std::shared_ptr<const Pod> pod(const std::string& line) {
  auto pod = std::make_shared<Pod>();
  auto shape = std::make_shared<PodShape>();
  pod->phase = "Running";
  shape->restart_policy = "Always";
  std::istringstream in(line);
  std::string word;
  in >> pod->meta.name;
  pod->meta.ns = "default";
  pod->meta.uid = "uid-" + pod->meta.name;
  pod->meta.created = ago(1000);
  while (in >> word) {
    const size_t at = word.find('=');
    const std::string key = word.substr(0, at), value = at == word.npos ? "" : word.substr(at + 1);
    if (key == "owner") pod->owner_uid = value, pod->owner_kind = "ReplicaSet";
    else if (key == "node") pod->node = value;
    else if (key == "for") pod->named_node = value;
    else if (key == "phase") pod->phase = value;
    else if (key == "ready") pod->ready = true, pod->ready_since = ago(std::stoi(value));
    else if (key == "created") pod->meta.created = ago(std::stoi(value));
    else if (key == "restarts") pod->restarts = std::stoi(value);
    else if (key == "ip") pod->ips.push_back(value);
    else if (key == "cost") shape->deletion_cost = std::stoi(value);
    else if (key == "deleting") pod->meta.deleting = true;
    else if (key == "port")
      shape->ports.push_back(
          {value.substr(0, value.find(':')), "TCP", std::stoi(value.substr(value.find(':') + 1))});
    else if (key == "hostname") shape->hostname = value;
    else if (key == "subdomain") shape->subdomain = value;
    else shape->labels[key] = value;
  }
  pod->shape = shape;
  return pod;
}
inline std::vector<std::shared_ptr<const Pod>> pods(const std::string& text) {
  std::vector<std::shared_ptr<const Pod>> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (line.find_first_not_of(' ') != line.npos) out.push_back(pod(line));
  return out;
}

}  // namespace master::controllers::golden
