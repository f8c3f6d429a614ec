// The devices that every container has, and the rules that let it use them: the runtime specification's
// "Default Devices". Pure.
#pragma once

#include <vector>

#include "runtime/spec/config.h"

namespace runtime {

struct StandardDevice {
  const char* path;
  unsigned major, minor;
};
inline constexpr StandardDevice kStandardDevices[] = {{"/dev/null", 1, 3},    {"/dev/zero", 1, 5},
                                                      {"/dev/full", 1, 7},    {"/dev/random", 1, 8},
                                                      {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
// What the devices cgroup always allows: the nodes above, ptys, and mknod.
std::vector<DeviceRule> default_device_rules();

}  // namespace runtime
