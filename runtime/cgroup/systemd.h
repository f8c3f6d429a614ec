// Cgroups through systemd (`--systemd-cgroup`): a container's is a transient scope, so that systemd,
// the only writer of the tree, knows of it. Owns the translation of OCI's resources to systemd's
// properties (pure) and the calls that make, change and stop the scope. What systemd has no property
// for is written to the scope's files, which Delegate= makes ours. Single-threaded; needs root, or a
// user's own manager. Source of the names: systemd.resource-control(5), org.freedesktop.systemd1(5).
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/cgroup/dbus.h"

namespace runtime {

struct SystemdScope {
  std::string slice;  // "machine.slice"
  std::string unit;   // "libpod-1234.scope"
  bool user = false;  // of the user's manager, not of the system's
};
// linux.cgroupsPath as runc and crun take it: "slice:prefix:name", each but the name may be empty;
// an empty path is the system's or user's default slice and the container's id.
base::Result<SystemdScope> parse_systemd_path(const std::string& cgroups_path, const std::string& id,
                                              bool user);
// "a-b.slice" lies at "/a.slice/a-b.slice".
base::Result<std::string> slice_path(const std::string& slice);

// The properties of `resources`; limits alone, as `update` sets them. A value that systemd can only
// hold coarsely is rounded up: the exact one is written to the file afterwards.
base::Result<std::vector<DbusProperty>> systemd_resource_properties(const CgroupLayout& layout,
                                                                    const Resources& resources);
// DevicePolicy= and DeviceAllow=; none when systemd can't express the rules, which our own filter
// does in any case.
std::vector<DbusProperty> systemd_device_properties(const std::vector<DeviceRule>& rules);
// Annotations "org.systemd.property.NAME", whose value is GVariant text: true, 'text', uint64 5,
// ['a', 'b']. NAME ending in Sec is in seconds and becomes …USec.
base::Result<std::vector<DbusProperty>> systemd_annotation_properties(
    const std::map<std::string, std::string>& annotations);
// All of a new scope's, but its processes.
base::Result<std::vector<DbusProperty>> plan_scope(const CgroupLayout& layout, const SystemdScope& scope,
                                                   const std::string& id, const Config& config);

// True outside of user namespaces: then scopes are the system's.
bool systemd_is_ours();

// A process of ours that a new scope begins with; it ends when this is dropped, by which time the
// container's first process must have been cloned into the scope.
class ScopeHolder {
 public:
  ScopeHolder() = default;
  explicit ScopeHolder(pid_t pid) : pid_(pid) {}
  ScopeHolder(ScopeHolder&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  ScopeHolder& operator=(ScopeHolder&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }
  ~ScopeHolder();

 private:
  pid_t pid_ = 0;
};

// A connection to the system's or the user's systemd.
class Systemd {
 public:
  static base::Result<Systemd> connect(bool user);
  // Where the scope is or will be, absolute within each hierarchy.
  base::Result<std::string> cgroup_of(const SystemdScope& scope);
  // kExists: a unit of that name is in use; nothing was changed.
  base::Status check_free(const std::string& unit);
  base::Result<ScopeHolder> start(const SystemdScope& scope, std::vector<DbusProperty> properties);
  base::Status set_properties(const std::string& unit, const std::vector<DbusProperty>& properties);
  // Waits until it is gone; absent is fine. What runs in it gets SIGTERM: kill it before.
  base::Status stop(const std::string& unit);

 private:
  explicit Systemd(DbusConnection connection) : connection_(std::move(connection)) {}
  base::Result<DbusMessage> call(const char* member, DbusBody body);
  base::Status wait_job(const DbusMessage& reply, const std::string& unit);
  DbusConnection connection_;
};

}  // namespace runtime
