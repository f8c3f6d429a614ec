// linux.resources of config.json: what a container may use.
#include <cstring>

#include "runtime/spec/reader.h"

namespace runtime {
namespace {

void read_throttle(Reader& r, std::string_view key, std::vector<ThrottleDevice>& out) {
  r.each(key, [&](const json::value& v, const std::string& at) {
    Reader device(&v, at, r.errors());
    ThrottleDevice d;
    device.number("major", d.major, true);
    device.number("minor", d.minor, true);
    device.number("rate", d.rate, true);
    out.push_back(d);
  });
}
void check_weight(Reader& r, std::string_view key, const std::optional<uint16_t>& weight) {
  if (weight && *weight != 0 && (*weight < 10 || *weight > 1000)) r.fail(key, "must be from 10 to 1000");
}

void read_devices(Reader& r, Resources& out) {
  r.each("devices", [&](const json::value& v, const std::string& at) {
    Reader rule(&v, at, r.errors());
    DeviceRule d;
    std::string type = "a";
    rule.boolean("allow", d.allow);
    rule.string("type", type);
    if (type != "a" && type != "b" && type != "c") return rule.fail("type", "must be a, b or c");
    d.type = type[0];
    rule.number("major", d.major);
    rule.number("minor", d.minor);
    rule.string("access", d.access);
    if (d.access.empty()) d.access = "rwm";
    if (d.access.find_first_not_of("rwm") != std::string::npos)
      return rule.fail("access", "must be made of r, w and m");
    out.devices.push_back(d);
  });
}

void read_memory(Reader m, Resources& out) {
  if (!m) return;
  // The kernel dropped it in 5.11.
  if (const json::value* v = m.get("useHierarchy"); v && v->is_bool() && !v->get_bool())
    m.fail("useHierarchy", "can't be switched off: remove it");
  m.number("kernel", out.kernel_limit);
  m.number("kernelTCP", out.kernel_tcp_limit);
  m.number("limit", out.memory_limit);
  m.number("reservation", out.memory_reservation);
  m.number("swap", out.memory_swap);
  // The kernel's word for "no limit" is -1; runc takes no other negative amount either.
  for (auto [key, limit] :
       {std::pair{"kernel", &out.kernel_limit}, std::pair{"kernelTCP", &out.kernel_tcp_limit},
        std::pair{"limit", &out.memory_limit}, std::pair{"reservation", &out.memory_reservation},
        std::pair{"swap", &out.memory_swap}})
    if (*limit && **limit < -1) m.fail(key, "must be -1, which is no limit, or more");
  m.number("swappiness", out.swappiness);
  if (out.swappiness && *out.swappiness > 200) m.fail("swappiness", "must be from 0 to 200");
  m.boolean("disableOOMKiller", out.disable_oom_killer);
  m.boolean("checkBeforeUpdate", out.check_before_update);
}

void read_cpu(Reader c, Resources& out) {
  if (!c) return;
  c.number("shares", out.cpu_shares);
  c.number("quota", out.cpu_quota);
  c.number("burst", out.cpu_burst);
  c.number("period", out.cpu_period);
  c.number("realtimeRuntime", out.cpu_rt_runtime);
  c.number("realtimePeriod", out.cpu_rt_period);
  c.number("idle", out.cpu_idle);
  if (out.cpu_idle && *out.cpu_idle != 0 && *out.cpu_idle != 1) c.fail("idle", "must be 0 or 1");
  c.string("cpus", out.cpus);
  c.string("mems", out.mems);
}

void read_block_io(Reader b, Resources& out) {
  if (!b) return;
  b.number("weight", out.blkio_weight);
  check_weight(b, "weight", out.blkio_weight);
  b.number("leafWeight", out.blkio_leaf_weight);
  check_weight(b, "leafWeight", out.blkio_leaf_weight);
  b.each("weightDevice", [&](const json::value& v, const std::string& at) {
    Reader device(&v, at, b.errors());
    WeightDevice d;
    device.number("major", d.major, true);
    device.number("minor", d.minor, true);
    device.number("weight", d.weight);
    device.number("leafWeight", d.leaf_weight);
    check_weight(device, "weight", d.weight);
    check_weight(device, "leafWeight", d.leaf_weight);
    if (!d.weight && !d.leaf_weight) device.fail("weight", "is required");
    out.weight_devices.push_back(d);
  });
  read_throttle(b, "throttleReadBpsDevice", out.read_bps);
  read_throttle(b, "throttleWriteBpsDevice", out.write_bps);
  read_throttle(b, "throttleReadIOPSDevice", out.read_iops);
  read_throttle(b, "throttleWriteIOPSDevice", out.write_iops);
}

void read_rdma(Reader& r, Resources& out) {
  const json::value* v = r.get("rdma");
  if (!v) return;
  if (!v->is_object()) return r.fail("rdma", "must be an object");
  for (const auto& [key, value] : v->get_object()) {
    Reader device(&value, fmt::format("{}[{}]", r.name("rdma"), std::string_view(key)), r.errors());
    RdmaLimit limit;
    limit.device = std::string(key);
    if (limit.device.empty() || limit.device.find_first_of(" \n") != std::string::npos)
      device.fail("", "is not a device name");
    device.number("hcaHandles", limit.handles);
    device.number("hcaObjects", limit.objects);
    if (!limit.handles && !limit.objects) device.fail("", "needs hcaHandles or hcaObjects");
    out.rdma.push_back(std::move(limit));
  }
}

void read_network(Reader n, Resources& out) {
  if (!n) return;
  n.number("classID", out.net_class_id);
  n.each("priorities", [&](const json::value& v, const std::string& at) {
    Reader row(&v, at, n.errors());
    std::pair<std::string, uint32_t> priority;
    row.string("name", priority.first, true);
    row.number("priority", priority.second, true);
    if (priority.first.find_first_of(" \n/") != std::string::npos)
      row.fail("name", "is not a network device");
    out.net_priorities.push_back(std::move(priority));
  });
}

}  // namespace

Resources read_resources(Reader r) {
  Resources out;
  if (!r) return out;
  read_devices(r, out);
  read_memory(r.child("memory"), out);
  read_cpu(r.child("cpu"), out);
  if (Reader p = r.child("pids")) p.number("limit", out.pids_limit);
  read_block_io(r.child("blockIO"), out);
  read_rdma(r, out);
  read_network(r.child("network"), out);
  r.each("hugepageLimits", [&](const json::value& v, const std::string& at) {
    Reader h(&v, at, r.errors());
    std::pair<std::string, uint64_t> limit;
    h.string("pageSize", limit.first, true);
    h.number("limit", limit.second, true);
    if (limit.first.find('/') != std::string::npos) return h.fail("pageSize", "is not a size");
    out.hugepages.push_back(std::move(limit));
  });
  r.string_map("unified", out.unified);
  for (const auto& [file, value] : out.unified)
    if (file.find('/') != std::string::npos || file.find('.') == std::string::npos)
      r.fail(fmt::format("unified[{}]", file), "is not a cgroup v2 file name");
  return out;
}

base::Result<Resources> parse_resources(const json::value& value) {
  Errors errors;
  Resources r = read_resources(Reader(&value, "resources", errors));
  if (!errors.empty()) return errors_as_one(errors, "resources");
  return r;
}

}  // namespace runtime
