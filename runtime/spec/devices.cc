#include "runtime/spec/devices.h"

namespace runtime {

std::vector<DeviceRule> default_device_rules() {
  std::vector<DeviceRule> rules = {{true, 'c', -1, -1, "m"}, {true, 'b', -1, -1, "m"}};
  for (const StandardDevice& node : kStandardDevices)
    rules.push_back({true, 'c', node.major, node.minor, "rwm"});
  rules.push_back({true, 'c', 5, 1, "rwm"});     // /dev/console
  rules.push_back({true, 'c', 5, 2, "rwm"});     // /dev/ptmx
  rules.push_back({true, 'c', 136, -1, "rwm"});  // /dev/pts/*
  return rules;
}

}  // namespace runtime
