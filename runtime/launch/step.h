// Step: one action of a launch, as plain data prepared before clone. The launch plan is a list of
// them; the child interprets it with raw system calls and reports {index, errno}. A step never
// points at something that the child would have to allocate or look up.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace runtime {

enum class Op : uint8_t {
  kJoinNamespace,  // a = path, x = CLONE_NEW…, fd opened by the parent
  kJoinContainer,  // x = CLONE_NEW… flags; through the container's pidfd
  kIdMaps,         // parent: a, b = lines of uid_map and gid_map; x = 1: setgroups is denied;
                   // y = 1: uids by newuidmap, 2: gids by newgidmap
  kNetDevice,      // parent: a = the host's name, b = the container's; c = path of the namespace
  kWaitParent,   // until the parent did its steps; x = 1: then become root inside; y = 1: with the groups we
                 // have
  kUnshareTime,  // a = lines of timens_offsets, which the parent writes
  kCommit,       // until the parent recorded the pid; if the parent dies before, so do we
  kEnterCgroup,  // write "0" into the `tasks` files the parent opened
  kUnshareCgroup,
  kLoopback,  // a new network namespace's lo is down
  kSession,
  kPropagation,    // x = MS_… flags for "/"
  kRootOverlay,    // list = lower directories, lowest first, then upper, work; b = mount point;
                   // c = all of it as mount(2)'s data on kernels before 6.8
  kRootBind,       // a = directory, z = kSource… below
  kMount,          // a = type, b = target, list = data options, c = source, x = attributes
  kBind,           // a = source, b = target, x/y = attributes set/cleared, z = flags below;
                   // list = {uid map, gid map[, user namespace]} of an idmapped one
  kRemount,        // b = target, x/y = attributes set/cleared, z = flags below
  kCgroupBind,     // cgroup v1 or hybrid: list = "directory name=source", b = target, x = attributes
  kMakeDirectory,  // b
  kNode,           // b, x = mode with type, y = device number, z = uid << 32 | gid
  kSymlink,        // a = target, b = path
  kConsole,        // b = "/dev/console" or "" (no bind mount); x = rows, y = columns, z = uid
  kSysctl,         // a = path below /proc/sys, b = value
  kHostname,
  kDomainname,    // a
  kMask,          // b
  kReadonlyPath,  // b
  kRootReadonly,
  kRootPropagation,  // x = MS_… flags
  kPivot,            // x = 1: the host shares our mounts, z = 1: chroot instead (--no-pivot),
                     // y = 1: in the host's mount namespace
  kHooks,            // a = list name; run by the parent in the runtime's namespaces
  kHookState,        // gets the container's state from the parent, for kHook
  kHook,             // a = path, b = list name, x = index of its argv and envp, y = in the list; run by
                     // the child
  kStdio,            // the parent's fds, or the terminal, to 0, 1, 2; x = uid that owns pipes;
                     // y = 1: a pipe that can't be given away is left
  kRlimit,           // x = resource, y = soft, z = hard
  kOomScoreAdj,      // a = text
  kLabel,            // a = file below /proc/self/attr, b = text (AppArmor, SELinux)
  kScheduler,        // a = bytes of sched_attr, b = text
  kIoPriority,       // x = ioprio
  kAffinity,         // a = bytes of the CPU mask, b = name; x = 1: what can't be had is left
  kPersonality,      // x
  kMemoryPolicy,     // x = mode, a = bytes of the node mask, b = text
  kUmask,            // x
  kHome,             // x = uid: HOME by the container's /etc/passwd
  kDropBounding,     // x = set to keep
  kSeccomp,          // x = 1: the listener goes to the parent
  kUser,             // x = uid, y = gid; gids = supplementary; z = 1: setgroups may be denied;
                     // w = 1: the groups we have are kept
  kCapabilities,     // x = effective, y = permitted, z = inheritable
  kAmbient,          // x
  kNoNewPrivileges,
  kWorkingDirectory,  // a; x = 1: before the filter and as root; refused, it is tried again later
  kFindProgram,       // list = candidates
  kDeathSignal,       // x = signal
  kWaitStart,         // until `start` writes to the fifo
  kCloseFds,          // x = first fd that must not survive execve; y = 1: kWaitStart follows, close now
  kExec,
};

// z of kBind, kRemount, kMount and kRootBind. kSourceFromParent: the parent opened the source before
// clone, with privileges and id maps that the child lacks. kCopyUp: a tmpfs gets what was there.
constexpr uint64_t kBindRecursive = 1, kBindRecursiveAttributes = 2, kSourceFromParent = 4, kIdMapped = 8,
                   kIdMappedRecursive = 16, kCopyUp = 32, kOnSlash = 64,
                   kInheritMode = 128,  // of a tmpfs: the mode of the directory it covers
    kSourceInRoot = 256,                // of kBind: a is a path beneath the root, made by an earlier mount
    kSourceNoFollow = 512, kTargetNoFollow = 1024,  // a link at the path's end is itself bound, bound over
    kCopyLink = 2048;  // of kBind: a source that is a link is made anew, not bound
// w of kMount and kBind: MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE, with MS_REC.

struct Step {
  Op op;
  std::string a = {}, b = {}, c = {};
  std::vector<std::string> list = {};
  uint64_t x = 0, y = 0, z = 0, w = 0;
  std::vector<uint32_t> gids = {};
  int timeout_s = 0;  // kHook

  std::string text() const;  // one line, e.g. "mount tmpfs on /dev nosuid mode=755"
};

// Words of a plan's text.
std::string namespace_text(uint64_t flags);  // "pid,mount"
std::string joined(const std::vector<std::string>& list, const char* separator);

}  // namespace runtime
