#include "runtime/launch/step.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "runtime/launch/mounts.h"
#include "runtime/spec/capabilities.h"

namespace runtime {
namespace {

struct FlagName {
  uint64_t flag;
  const char* name;
};
constexpr FlagName kNamespaceNames[] = {
    {CLONE_NEWUSER, "user"}, {CLONE_NEWPID, "pid"}, {CLONE_NEWNS, "mount"},      {CLONE_NEWNET, "network"},
    {CLONE_NEWIPC, "ipc"},   {CLONE_NEWUTS, "uts"}, {CLONE_NEWCGROUP, "cgroup"}, {CLONE_NEWTIME, "time"}};
std::string capability_text(uint64_t set) {
  std::string out;
  for (int i = 0; i < 64; ++i)
    if (set & (uint64_t{1} << i)) out += (out.empty() ? "" : ",") + capability_name(i).substr(4);
  return out.empty() ? "none" : out;
}
std::string words(std::initializer_list<std::string> parts) {
  std::string out;
  for (const std::string& part : parts)
    if (!part.empty()) out += (out.empty() ? "" : " ") + part;
  return out;
}

// Lines of an id map as one: "0 1000 1; 1 100000 65536".
std::string one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (size_t at; (at = text.find('\n')) != std::string::npos;) text.replace(at, 1, "; ");
  return text;
}
std::string bind_text(uint64_t flags, const std::vector<std::string>& maps) {
  std::string out = flags & kBindRecursiveAttributes ? "recursively" : "";
  if (flags & kIdMapped)
    out += fmt::format("{}{} ({})", out.empty() ? "" : " ", flags & kIdMappedRecursive ? "ridmap" : "idmap",
                       maps.size() > 2 ? maps[2] : one_line(maps.at(0)) + ") (" + one_line(maps.at(1)));
  for (auto [flag, name] : {std::pair{kCopyLink, "copy-symlink"}, std::pair{kSourceNoFollow, "src-nofollow"},
                            std::pair{kTargetNoFollow, "dest-nofollow"}})
    if (flags & flag) out += (out.empty() ? "" : " ") + std::string(name);
  if (flags & kSourceFromParent) out += out.empty() ? "from-parent" : " from-parent";
  return out;
}

}  // namespace

std::string namespace_text(uint64_t flags) {
  std::string out;
  for (const FlagName& row : kNamespaceNames)
    if (flags & row.flag) out += (out.empty() ? "" : ",") + std::string(row.name);
  return out;
}
std::string joined(const std::vector<std::string>& list, const char* separator) {
  std::string out;
  for (const std::string& item : list) out += (out.empty() ? "" : separator) + item;
  return out;
}

std::string Step::text() const {
  switch (op) {
    case Op::kJoinNamespace: return fmt::format("join {} {}", namespace_text(x), a);
    case Op::kJoinContainer: return fmt::format("join-container {}", namespace_text(x));
    case Op::kIdMaps:
      return fmt::format("id-maps ({}){} ({}){}{}", one_line(a), y & 1 ? " by newuidmap" : "", one_line(b),
                         y & 2 ? " by newgidmap" : "", x ? " setgroups denied" : "");
    case Op::kNetDevice: return words({"net-device", a, "as", b, c.empty() ? "" : "in " + c});
    case Op::kWaitParent:
      return x ? y ? "wait-parent, become root, groups kept" : "wait-parent, become root" : "wait-parent";
    case Op::kUnshareTime: return words({"unshare time", one_line(a)});
    case Op::kCommit: return "commit";
    case Op::kEnterCgroup: return "enter-cgroup";
    case Op::kUnshareCgroup: return "unshare cgroup";
    case Op::kLoopback: return "loopback up";
    case Op::kSession: return "session";
    case Op::kPropagation: return "propagation / " + propagation_name(x);
    case Op::kRootOverlay: return fmt::format("root overlay {} on {}", joined(list, ":"), b);
    case Op::kRootBind:
      return words({"root bind", a, z & kOnSlash ? "on /" : "", z & kSourceFromParent ? "from-parent" : ""});
    case Op::kMount:
      return words({"mount", a, "on", b, attributes_text(x), propagation_name(w), joined(list, ","),
                    z & kCopyUp ? "copy-up" : ""});
    case Op::kBind:
      return words({z & kBindRecursive ? "bind-tree" : "bind", z & kSourceInRoot ? "container:" + a : a, "on",
                    b, attributes_text(x), propagation_name(w), bind_text(z, list)});
    case Op::kRemount:
      return words({"remount", b, attributes_text(x), propagation_name(w),
                    z & kBindRecursiveAttributes ? "recursively" : ""});
    case Op::kCgroupBind: return words({"bind cgroup on", b, attributes_text(x), joined(list, " ")});
    case Op::kMakeDirectory: return "make-directory " + b;
    case Op::kNode:
      return fmt::format("node {} {} {}:{} {:o}{}", b,
                         S_ISCHR(x)   ? 'c'
                         : S_ISBLK(x) ? 'b'
                                      : 'p',
                         major(y), minor(y), x & 07777,
                         z ? fmt::format(" {}:{}", z >> 32, static_cast<uint32_t>(z)) : "");
    case Op::kSymlink: return fmt::format("symlink {} -> {}", b, a);
    case Op::kConsole: return words({"console", b});
    case Op::kSysctl: return fmt::format("sysctl {}={}", a, b);
    case Op::kHostname: return "hostname " + a;
    case Op::kDomainname: return "domainname " + a;
    case Op::kMask: return "mask " + b;
    case Op::kReadonlyPath: return "read-only " + b;
    case Op::kRootReadonly: return "root read-only";
    case Op::kRootPropagation: return "root propagation " + propagation_name(x);
    case Op::kPivot: return z ? "change-root" : "pivot-root";
    case Op::kHooks: return "hooks " + a;
    case Op::kHookState: return "hook-state";
    case Op::kHook: return fmt::format("hook {} {}", b, a);
    case Op::kStdio: return "stdio";
    case Op::kRlimit: return fmt::format("rlimit {} {}:{}", x, y, z);
    case Op::kOomScoreAdj: return "oom-score-adj " + a;
    case Op::kLabel: return fmt::format("label {} {}", a, b);
    case Op::kScheduler: return "scheduler " + b;
    case Op::kIoPriority: return fmt::format("io-priority class {} priority {}", x >> 13, x & 8191);
    case Op::kAffinity: return fmt::format("cpu-affinity {}", b);
    case Op::kPersonality: return fmt::format("personality {:#x}", x);
    case Op::kMemoryPolicy: return words({"memory-policy", fmt::format("{:#x}", x), b});
    case Op::kUmask: return fmt::format("umask {:o}", x);
    case Op::kHome: return fmt::format("home of {}", x);
    case Op::kDropBounding: return "capabilities bounding " + capability_text(x);
    case Op::kSeccomp: return x ? "seccomp, listener to parent" : "seccomp";
    case Op::kUser: {
      std::string out = fmt::format("user {}:{}", x, y);
      if (w) return out + " groups kept";
      for (size_t i = 0; i < gids.size(); ++i) out += fmt::format("{}{}", i == 0 ? " groups " : ",", gids[i]);
      return out;
    }
    case Op::kCapabilities:
      return fmt::format("capabilities effective {} permitted {} inheritable {}", capability_text(x),
                         capability_text(y), capability_text(z));
    case Op::kAmbient: return "capabilities ambient " + capability_text(x);
    case Op::kNoNewPrivileges: return "no-new-privileges";
    case Op::kWorkingDirectory: return words({"working-directory", a, x ? "as root" : ""});
    case Op::kFindProgram: return "find " + a;
    case Op::kDeathSignal: return fmt::format("death-signal {}", x);
    case Op::kWaitStart: return "wait-start";
    case Op::kCloseFds: return fmt::format("close-fds {}{}", x, y ? " now" : "");
    case Op::kExec: return "exec " + a;
  }
  return {};
}

}  // namespace runtime
