// What the kubelets' resource pages say (KEP-1916: Prometheus text, counters of CPU time, working sets), and
// the use over a time that two of them show. Pure; a page comes from a node and may say anything.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"

namespace master {

struct UsageSample {
  double cpu_seconds = 0, memory_bytes = 0;
  std::optional<double> started_s;  // since 1970; of a container
  int64_t at_ms = 0;                // since 1970, by the node's clock
  bool has_cpu = false, has_memory = false;
};
struct NodePage {
  UsageSample node;
  std::map<std::string, std::map<std::string, UsageSample>, std::less<>> pods;  // "ns/name", container
};
// kInvalid for a page that has lines of another form; what is not about use is passed over.
base::Result<NodePage> read_resource_page(std::string_view page);

struct Usage {
  int64_t nanocores = 0, bytes = 0;
  std::string cpu() const;     // "12345678n"
  std::string memory() const;  // "1024Ki"
};
struct Measured {
  base::Time at{};
  base::Duration window{};
  std::map<std::string, Usage> containers;
};
// The use of a node between two pages. Nothing where the counters went back or no time passed.
struct NodeMeasured {
  base::Time at{};
  base::Duration window{};
  Usage usage;
};
std::optional<NodeMeasured> node_usage(const NodePage& before, const NodePage& after);
// That of a Pod, of all containers of the newer page; one that has started meanwhile is measured from its
// start, from a second on. Nothing while one of them can't be told.
std::optional<Measured> pod_usage(const NodePage& before, const NodePage& after, std::string_view pod);

std::string window_text(base::Duration window);  // "15.02s": as Go writes it, to milliseconds

}  // namespace master
