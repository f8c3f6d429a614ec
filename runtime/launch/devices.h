// Device nodes, the usual links of /dev, and the console. Never opens a node by a path that the
// image controls: the pty comes from the devpts we mounted and its slave from TIOCGPTPEER.
// Regression: CVE-2025-52565.
#pragma once

#include <vector>

#include "runtime/launch/child.h"
#include "runtime/spec/devices.h"

namespace runtime {

// Nodes and links that every container gets, as steps, then those of the config.
void plan_devices(const Config& config, std::vector<Step>& steps);

int child_node(Child& child, const Step& step);
int child_symlink(Child& child, const Step& step);
int child_console(Child& child, const Step& step);

}  // namespace runtime
