// Reads what doctor judges. Every try is harmless: wrong arguments, O_TMPFILE, or a network
// namespace of its own that ends with the try.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "base/process.h"
#include "base/sys.h"
#include "cli/doctor.h"

namespace cli {
namespace {

namespace sys = base::sys;

std::string text_of(const std::string& path) { return sys::read_file(path).value_or(std::string()); }

// ENOSYS and EPERM (a seccomp filter) mean that it is out of reach; a complaint about the nonsense
// we pass means that it is there.
int reachable(long result) {
  if (result >= 0) {
    ::close(static_cast<int>(result));
    return 0;
  }
  return errno == ENOSYS || errno == EPERM ? errno : 0;
}

void probe_calls(Host* host) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  host->calls["openat2"] = reachable(::syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof how));
  host->calls["pidfd_open"] = reachable(::syscall(SYS_pidfd_open, ::getpid(), 0));
  host->calls["clone3"] = reachable(::syscall(SYS_clone3, nullptr, 0));
  host->calls["close_range"] = reachable(::syscall(SYS_close_range, 1u, 0u, 0u));  // last < first: EINVAL
  host->calls["fsopen"] = reachable(::syscall(SYS_fsopen, "tmpfs", 1 /* FSOPEN_CLOEXEC */));
  host->calls["mount_setattr"] = reachable(::syscall(SYS_mount_setattr, -1, "", 0, nullptr, 0));
}

void probe_storage(Host* host) {
  std::string at = host->image_root;
  while (!sys::exists(at) && at.rfind('/') != std::string::npos && at.size() > 1)
    at = at.rfind('/') == 0 ? "/" : at.substr(0, at.rfind('/'));
  struct statvfs info;
  if (::statvfs(at.c_str(), &info) == 0) {
    host->free_bytes = static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
    host->free_inodes = info.f_favail;
    host->inodes = info.f_files;
  }
  auto file = sys::open(at, O_TMPFILE | O_RDWR, 0600);
  if (!file.ok()) host->trusted_xattr = file.error().errno_value;
  else if (::fsetxattr(file->get(), "trusted.overlay.opaque", "y", 1, 0) != 0) host->trusted_xattr = errno;
}

std::string run_in_fresh_network(const std::vector<std::string>& command, std::string_view input) {
  std::vector<std::string> argv = {"unshare", "--net"};
  argv.insert(argv.end(), command.begin(), command.end());
  auto done = base::run_command(argv, input);
  if (!done.ok()) return done.error().message();
  if (done->status.code == 0) return {};
  std::string why = done->err.substr(0, done->err.find('\n'));
  return why.empty() ? "exit " + std::to_string(done->status.code) : why;
}

void probe_network(Host* host) {
  host->probes["network veth"] =
      run_in_fresh_network({"ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"}, "");
  host->probes["network bridge"] = run_in_fresh_network({"ip", "link", "add", "b0", "type", "bridge"}, "");
  // What the proxy's table is made of.
  host->probes["nftables NAT with maps"] = run_in_fresh_network(
      {"nft", "-f", "-"},
      "table ip probe {\n"
      " map services { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
      " map endpoints { typeof ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . tcp "
      "dport; }\n"
      " chain one { dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @endpoints; }\n"
      " chain pre { type nat hook prerouting priority -100; ip daddr . meta l4proto . th dport vmap "
      "@services; }\n"
      " chain post { type nat hook postrouting priority 100; ct state new masquerade; }\n"
      "}\n");
  host->ip_forward = text_of("/proc/sys/net/ipv4/ip_forward").starts_with("1");
  for (int port : {6443, 10250}) {
    int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    base::UniqueFd owner(fd);
    int yes = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 && errno == EADDRINUSE)
      host->busy_ports.push_back(std::to_string(port));
  }
}

bool in_path(const std::string& name) {
  const char* path = ::getenv("PATH");
  std::string list = path ? path : "/usr/sbin:/usr/bin:/sbin:/bin";
  for (size_t at = 0; at <= list.size();) {
    size_t end = std::min(list.find(':', at), list.size());
    if (::access((list.substr(at, end - at) + "/" + name).c_str(), X_OK) == 0) return true;
    at = end + 1;
  }
  return false;
}

void probe_programs(Host* host) {
  for (const char* name : {"nft", "ip", "unshare", "nsenter"})
    if (!in_path(name)) host->absent_programs.push_back(name);
  char self[4096] = {};
  if (::readlink("/proc/self/exe", self, sizeof self - 1) <= 0) return;
  std::string folder(self);
  folder.resize(folder.rfind('/') + 1);
  for (const char* name : {"sampan-master", "sampan-kubelet", "sampan-proxy", "sampan-pod", "sampan-oci"})
    if (::access((folder + name).c_str(), X_OK) != 0) host->absent_programs.push_back(name);
}

}  // namespace

base::Result<Host> observe_host(const std::string& image_root) {
  Host host;
  host.image_root = image_root;
  host.root = ::geteuid() == 0;
  utsname name{};
  ::uname(&name);
  host.kernel = name.release;
  probe_calls(&host);
  host.namespaces = TRY(sys::list_dir("/proc/self/ns"));
  host.filesystems = text_of("/proc/filesystems");
  host.mounts = text_of("/proc/self/mountinfo");
  host.cgroup_controllers = text_of("/sys/fs/cgroup/cgroup.controllers");
  host.seccomp_actions = text_of("/proc/sys/kernel/seccomp/actions_avail");
  std::string status = text_of("/proc/self/status");
  if (size_t at = status.find("CapBnd:"); at != std::string::npos)
    host.bounding_set = std::strtoull(status.c_str() + at + 7, nullptr, 16);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) host.max_files = files.rlim_max;
  std::string swaps = text_of("/proc/swaps");
  host.swap = std::count(swaps.begin(), swaps.end(), '\n') > 1;
  probe_storage(&host);
  probe_programs(&host);
  if (host.root) probe_network(&host);
  return host;
}

}  // namespace cli
