#include "cli/doctor.h"

#include <gmock/gmock.h>

#include <cerrno>

#include "cli/command.h"

namespace cli {
namespace {

Host good_host() {
  Host host;
  host.root = true;
  host.kernel = "6.1.0";
  for (const char* call : {"pidfd_open", "clone3", "openat2", "close_range", "fsopen", "mount_setattr"})
    host.calls[call] = 0;
  host.namespaces = {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"};
  host.filesystems = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tmqueue\n\text4\nnodev\toverlay\n";
  host.cgroup_controllers = "cpuset cpu io memory pids\n";
  host.seccomp_actions = "kill_process kill_thread trap errno trace log allow\n";
  host.bounding_set = ~0ull;
  host.image_root = "/var/lib/sampan/images";
  host.free_bytes = 10ull << 30;
  host.free_inodes = host.inodes = 1'000'000;
  host.probes = {{"network veth", ""}, {"nftables NAT with maps", ""}};
  host.max_files = 20'000;
  host.ip_forward = true;
  return host;
}
std::vector<std::string> complaints(const Host& host) {
  std::vector<std::string> out;
  for (const Finding& finding : judge(host))
    if (finding.verdict != Verdict::kOk) out.push_back(finding.text());
  return out;
}
using testing::ElementsAre;

TEST(Doctor, AGoodHostHasNoComplaint) {
  EXPECT_THAT(complaints(good_host()), testing::IsEmpty());
  EXPECT_GT(judge(good_host()).size(), 20u);
}

TEST(Doctor, HybridCgroupsCountThroughTheirMounts) {
  Host host = good_host();
  host.cgroup_controllers = "";
  host.mounts =
      "30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
  EXPECT_THAT(complaints(host),
              ElementsAre("missing  cgroup controller pids: neither cgroup v2 nor v1 has it mounted: "
                          "mount cgroup2 on /sys/fs/cgroup"));
  host.cgroup_controllers = "cpu pids\n";
  host.mounts = "31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory_pressure,cpuacct\n";
  EXPECT_THAT(complaints(host),
              ElementsAre("missing  cgroup controller memory: not in /sys/fs/cgroup/cgroup.controllers: "
                          "boot with cgroup_enable=memory"));
}

TEST(Doctor, EachLackIsOneLineWithAWayOut) {
  Host host = good_host();
  host.calls["mount_setattr"] = ENOSYS;
  host.calls.erase("openat2");
  host.bounding_set &= ~(1ull << 21);  // CAP_SYS_ADMIN
  host.trusted_xattr = EOPNOTSUPP;
  host.filesystems = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tmqueue\nnodev\toverlayX\n";
  host.probes["nftables NAT with maps"] = "Error: Could not process rule";
  host.absent_programs = {"nft", "sampan-pod"};
  host.busy_ports = {"6443"};
  host.free_bytes = 1000;
  host.root = false;
  EXPECT_THAT(
      complaints(host),
      ElementsAre(
          "missing  root: this user is not root: run it as root",
          "missing  system call openat2: kernel 6.1.0 answers ENOSYS: needs Linux 5.6, or a container that "
          "lets it through",
          "missing  system call mount_setattr: kernel 6.1.0 answers ENOSYS: needs Linux 5.12, or a container "
          "that lets it through",
          "missing  file system overlay: not in /proc/filesystems: modprobe overlay, or a kernel with "
          "CONFIG_OVERLAY_FS",
          "missing  extended attributes below /var/lib/sampan/images: trusted.* answers EOPNOTSUPP: keep "
          "images on ext4, xfs or btrfs (--image-root)",
          "note     disk space below /var/lib/sampan/images: 1.0 kB free: free some: 2 GB hold a few images",
          "missing  capabilities: out of reach: CAP_SYS_ADMIN: run it on the host, not in a restricted "
          "container",
          "missing  nftables NAT with maps: Error: Could not process rule: boot a kernel that has it, or "
          "load its module",
          "note     port 6443: another program listens on it: stop it, or give --listen another",
          "missing  program nft: not in PATH: apt-get install nftables",
          "missing  program sampan-pod: not next to this one: scripts/install installs them all"));
}

TEST(Command, SizesAndTables) {
  EXPECT_EQ(format_size(0), "0 B");
  EXPECT_EQ(format_size(999), "999 B");
  EXPECT_EQ(format_size(1000), "1.0 kB");
  EXPECT_EQ(format_size(999'960), "1.0 MB");
  EXPECT_EQ(format_size(15'586'475), "15.6 MB");
  EXPECT_EQ(format_size(UINT64_MAX), "18.4 EB");
  EXPECT_EQ(format_table({{"A", "LONG"}, {"longer", "x"}}), "A       LONG\nlonger  x\n");
}

TEST(Command, ErrorsAreWords) {
  using base::Kind;
  EXPECT_EQ(error_word(base::make_error(Kind::kNotFound, "x")), "not-found");
  base::Error full{Kind::kExhausted, ENOSPC, "write", {}, {}, {}, nullptr};
  EXPECT_EQ(error_word(base::wrap(full, "pull")), "disk-full");
  EXPECT_EQ(error_word(base::wrap(base::Error{Kind::kUnavailable, ECONNREFUSED, "GET", {}, {}, {}, nullptr},
                                  "pull")),
            "connection-refused");
  EXPECT_EQ(error_word(base::Error{Kind::kDenied, EACCES, "open", {}, {}, {}, nullptr}), "denied");
}

}  // namespace
}  // namespace cli
