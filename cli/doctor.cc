#include "cli/doctor.h"

#include <linux/capability.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/json.h"
#include "cli/command.h"

namespace cli {
namespace {

constexpr uint64_t kMinFreeBytes = 2ull << 30;
constexpr uint64_t kMinFreeInodes = 50'000;
constexpr uint64_t kMinFiles = 4096;

bool has_word(std::string_view text, std::string_view word) {
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    auto edge = [&](size_t i) { return i >= text.size() || strchr(" \t\n,", text[i]) != nullptr; };
    if ((at == 0 || edge(at - 1)) && edge(at + word.size())) return true;
  }
  return false;
}

class Judge {
 public:
  explicit Judge(const Host& host) : host_(host) {}
  std::vector<Finding> run() {
    say(host_.root, "root", "this user is not root", "run it as root");
    calls();
    namespaces();
    cgroups();
    storage();
    security();
    network();
    programs();
    return std::move(findings_);
  }

 private:
  void say(bool good, std::string what, std::string why, std::string hint, Verdict bad = Verdict::kMissing) {
    if (good) findings_.push_back({Verdict::kOk, std::move(what), {}, {}});
    else findings_.push_back({bad, std::move(what), std::move(why), std::move(hint)});
  }
  void calls() {
    static constexpr std::pair<const char*, const char*> kNeeded[] = {
        {"pidfd_open", "5.3"},  {"clone3", "5.3"}, {"openat2", "5.6"},
        {"close_range", "5.9"}, {"fsopen", "5.2"}, {"mount_setattr", "5.12"}};
    for (auto [name, since] : kNeeded) {
      auto found = host_.calls.find(name);
      int error = found == host_.calls.end() ? ENOSYS : found->second;
      const char* text = strerrorname_np(error);
      say(error == 0, std::string("system call ") + name,
          "kernel " + host_.kernel + " answers " + (text ? text : "?"),
          std::string("needs Linux ") + since + ", or a container that lets it through");
    }
  }
  void namespaces() {
    for (const char* name : {"mnt", "pid", "net", "ipc", "uts", "cgroup", "user"}) {
      bool there =
          std::find(host_.namespaces.begin(), host_.namespaces.end(), name) != host_.namespaces.end();
      // User namespaces are for sampan-oci's rootless bundles; Pods do without.
      bool optional = !std::strcmp(name, "user");
      say(there, std::string("namespace ") + name, "the kernel was built without it",
          "boot a kernel with CONFIG_NAMESPACES", optional ? Verdict::kNote : Verdict::kMissing);
    }
  }
  void cgroups() {
    bool v2 = !host_.cgroup_controllers.empty();
    for (const char* name : {"cpu", "memory", "pids"}) {
      bool in_v2 = has_word(host_.cgroup_controllers, name);
      bool in_v1 = false;
      for (size_t at = 0; at < host_.mounts.size();) {
        size_t end = std::min(host_.mounts.find('\n', at), host_.mounts.size());
        std::string_view line(host_.mounts.data() + at, end - at);
        size_t type = line.find(" - cgroup ");
        if (type != std::string_view::npos) in_v1 |= has_word(line.substr(type), name);
        at = end + 1;
      }
      std::string where = in_v2 ? " (cgroup v2)" : in_v1 ? " (cgroup v1)" : "";
      say(in_v2 || in_v1, std::string("cgroup controller ") + name + where,
          v2 ? "not in /sys/fs/cgroup/cgroup.controllers" : "neither cgroup v2 nor v1 has it mounted",
          !std::strcmp(name, "memory") ? "boot with cgroup_enable=memory"
                                       : "mount cgroup2 on /sys/fs/cgroup");
    }
  }
  void storage() {
    say(has_word(host_.filesystems, "overlay"), "file system overlay", "not in /proc/filesystems",
        "modprobe overlay, or a kernel with CONFIG_OVERLAY_FS");
    for (const char* name : {"tmpfs", "proc", "sysfs", "mqueue"})
      say(has_word(host_.filesystems, name), std::string("file system ") + name, "not in /proc/filesystems",
          "boot a kernel that has it");
    const char* text = strerrorname_np(host_.trusted_xattr);
    say(host_.trusted_xattr == 0, "extended attributes below " + host_.image_root,
        std::string("trusted.* answers ") + (text ? text : "?"),
        "keep images on ext4, xfs or btrfs (--image-root)");
    say(host_.free_bytes >= kMinFreeBytes, "disk space below " + host_.image_root,
        format_size(host_.free_bytes) + " free", "free some: 2 GB hold a few images", Verdict::kNote);
    // btrfs has no fixed number of inodes and says 0.
    say(host_.inodes == 0 || host_.free_inodes >= kMinFreeInodes, "inodes below " + host_.image_root,
        std::to_string(host_.free_inodes) + " free", "an image takes thousands: use a larger file system",
        Verdict::kNote);
  }
  void security() {
    say(has_word(host_.seccomp_actions, "errno"), "seccomp filters", "/proc/sys/kernel/seccomp lacks them",
        "boot a kernel with CONFIG_SECCOMP_FILTER");
    std::string absent;
    static constexpr std::pair<int, const char*> kNeeded[] = {
        {CAP_CHOWN, "CAP_CHOWN"},         {CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
        {CAP_SETUID, "CAP_SETUID"},       {CAP_SETGID, "CAP_SETGID"},
        {CAP_SETPCAP, "CAP_SETPCAP"},     {CAP_MKNOD, "CAP_MKNOD"},
        {CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {CAP_NET_RAW, "CAP_NET_RAW"},
        {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}, {CAP_SYS_CHROOT, "CAP_SYS_CHROOT"},
        {CAP_KILL, "CAP_KILL"},           {CAP_SYS_PTRACE, "CAP_SYS_PTRACE"}};
    for (auto [bit, name] : kNeeded)
      if (!(host_.bounding_set >> bit & 1)) absent += std::string(absent.empty() ? "" : ", ") + name;
    say(absent.empty(), "capabilities", "out of reach: " + absent,
        "run it on the host, not in a restricted container");
    say(host_.max_files >= kMinFiles, "open files", "limited to " + std::to_string(host_.max_files),
        "raise it: LimitNOFILE in the unit, or ulimit -n", Verdict::kNote);
  }
  void network() {
    for (const auto& [what, why] : host_.probes)
      say(why.empty(), what, why, "boot a kernel that has it, or load its module");
    say(host_.ip_forward, "net.ipv4.ip_forward", "it is 0", "the kubelet sets it to 1 when it starts",
        Verdict::kNote);
    for (const std::string& port : host_.busy_ports)
      say(false, "port " + port, "another program listens on it", "stop it, or give --listen another",
          Verdict::kNote);
    say(!host_.swap, "swap", "it is on: memory limits count it apart", "swapoff -a, unless you mean it",
        Verdict::kNote);
  }
  void programs() {
    for (const std::string& name : host_.absent_programs) {
      bool ours = name.starts_with("sampan");
      say(false, "program " + name, ours ? "not next to this one" : "not in PATH",
          ours            ? "scripts/install installs them all"
          : name == "nft" ? "apt-get install nftables"
                          : "apt-get install util-linux iproute2");
    }
  }

  const Host& host_;
  std::vector<Finding> findings_;
};

}  // namespace

std::string Finding::text() const {
  static constexpr const char* kWords[] = {"ok       ", "note     ", "missing  "};
  std::string out = kWords[static_cast<int>(verdict)] + what;
  if (!why.empty()) out += ": " + why;
  if (!hint.empty()) out += ": " + hint;
  return out;
}

std::vector<Finding> judge(const Host& host) { return Judge(host).run(); }

void add_doctor(CLI::App& app, Outcome& outcome) {
  struct Options {
    std::string image_root = "/var/lib/sampan/images";
    bool as_json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("doctor", "What this host lacks to run Pods, and what to do about it");
  command->add_option("--image-root", options->image_root, "The image store")->capture_default_str();
  command->add_flag("--json", options->as_json, "One JSON array of {verdict,what,why,hint}");
  command->callback([options, &outcome] {
    auto host = observe_host(options->image_root);
    if (!host.ok()) return outcome.set(std::move(host).error());
    base::json::array all;
    size_t missing = 0, notes = 0;
    for (const Finding& finding : judge(*host)) {
      missing += finding.verdict == Verdict::kMissing;
      notes += finding.verdict == Verdict::kNote;
      static constexpr const char* kWords[] = {"ok", "note", "missing"};
      all.emplace_back(base::json::object{{"verdict", kWords[static_cast<int>(finding.verdict)]},
                                          {"what", finding.what},
                                          {"why", finding.why},
                                          {"hint", finding.hint}});
      if (!options->as_json) std::printf("%s\n", finding.text().c_str());
    }
    if (options->as_json) std::printf("%s\n", base::to_json(all).c_str());
    else
      std::printf("%s: %zu missing, %zu to note\n",
                  missing ? "this host cannot run Pods yet" : "this host can run Pods", missing, notes);
    if (missing) outcome.exit_code = 1;
  });
}

}  // namespace cli
