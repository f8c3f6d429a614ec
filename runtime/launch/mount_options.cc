// OCI mount options as data: pure.
#include <fmt/format.h>
#include <sys/mount.h>

#include <algorithm>

#include "runtime/launch/mounts.h"

namespace runtime {

namespace {
struct Option {
  const char* name;
  uint64_t set, clear;
};
// mount(8)'s generic options as mount attributes; "r…" forms apply to the whole tree (bind only).
constexpr Option kOptions[] = {
    {"ro", MOUNT_ATTR_RDONLY, 0},
    {"rw", 0, MOUNT_ATTR_RDONLY},
    {"nosuid", MOUNT_ATTR_NOSUID, 0},
    {"suid", 0, MOUNT_ATTR_NOSUID},
    {"nodev", MOUNT_ATTR_NODEV, 0},
    {"dev", 0, MOUNT_ATTR_NODEV},
    {"noexec", MOUNT_ATTR_NOEXEC, 0},
    {"exec", 0, MOUNT_ATTR_NOEXEC},
    {"noatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
    {"atime", 0, MOUNT_ATTR__ATIME},
    {"relatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
    {"norelatime", 0, MOUNT_ATTR__ATIME},
    {"strictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
    {"nostrictatime", 0, MOUNT_ATTR__ATIME},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
    {"diratime", 0, MOUNT_ATTR_NODIRATIME},
    {"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
    {"symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
    {"defaults", 0, 0},
};
}  // namespace

std::string attributes_text(uint64_t attributes) {
  std::string out;
  for (const Option& option : kOptions)
    if (option.set && (attributes & option.set) == option.set)
      out += (out.empty() ? "" : ",") + std::string(option.name);
  return out;
}

namespace {
// The superblock's flags, as the kernel's option parser names them; "" says nothing to it.
struct SuperblockFlag {
  const char *name, *key;
};
constexpr SuperblockFlag kSuperblock[] = {{"sync", "sync"},
                                          {"async", "async"},
                                          {"dirsync", "dirsync"},
                                          {"mand", "mand"},
                                          {"nomand", "nomand"},
                                          {"lazytime", "lazytime"},
                                          {"nolazytime", "nolazytime"},
                                          {"silent", ""},
                                          {"loud", ""},
                                          {"iversion", ""},
                                          {"noiversion", ""}};

struct Attributes {
  uint64_t set = 0, clear = 0;
  bool recursive = false;
  bool given = false, atime = false;  // any; one that asks for a kind of access times
};
// "ro", or "rro" for the whole tree; "rw" and "relatime" are themselves.
bool add_attribute(const std::string& name, Attributes& out) {
  const Option* found = nullptr;
  bool recursive = false;
  for (const Option& option : kOptions) {
    if (name == option.name) {
      found = &option;
      recursive = false;
    } else if (!found && name.size() > 1 && name[0] == 'r' && name.substr(1) == option.name) {
      found = &option;
      recursive = true;
    }
  }
  if (!found) return false;
  out.set = (out.set & ~found->clear) | found->set;
  out.clear = (out.clear & ~found->set) | found->clear;
  out.recursive |= recursive;
  out.given = true;
  out.atime |= (found->set & (MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME)) ||
               std::string_view(found->name) == "relatime";
  return true;
}

// As mount(2) with MS_REMOUNT | MS_BIND, which is what callers know: with any option, those that are
// not given are off; only access times stay unless a kind of them is asked for. `locked`: what the
// kernel would not let a user namespace switch off stays, too.
void complete_bind(bool locked, Attributes& out) {
  constexpr uint64_t kLockable = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  constexpr uint64_t kAccessTimes = MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME;
  if (!out.given || out.recursive) return;
  out.clear |= (locked ? 0 : kLockable) | MOUNT_ATTR_NOSYMFOLLOW;
  out.clear = out.atime ? out.clear | kAccessTimes : out.clear & ~kAccessTimes;
}
}  // namespace

base::Result<Step> plan_mount(const Mount& mount, bool in_user_namespace) {
  auto invalid = [&](std::string why) {
    return base::make_error(base::Kind::kInvalid, "read", mount.field, std::move(why));
  };
  Step step{.op = Op::kMount};
  step.b = clean_path(mount.destination);
  bool bind = mount.type == "bind", remount = false;
  Attributes attributes;
  for (const std::string& name : mount.options) {
    if (name == "bind" || name == "rbind") {
      bind = true;
      if (name == "rbind") step.z |= kBindRecursive;
    } else if (name == "remount") {
      remount = true;
    } else if (uint64_t flags = propagation_flags(name)) {
      step.w = flags;
    } else if (name == "tmpcopyup") {
      step.z |= kCopyUp;
    } else if (name == "copy-symlink" || name == "src-nofollow" || name == "dest-nofollow") {  // crun's
      step.z |= name[0] == 'c' ? kCopyLink : name[0] == 's' ? kSourceNoFollow : kTargetNoFollow;
    } else if (name == "idmap" || name == "ridmap") {
      step.z |= name == "idmap" ? kIdMapped : kIdMapped | kIdMappedRecursive;
    } else if (!add_attribute(name, attributes)) {
      const SuperblockFlag* flag = nullptr;
      for (const SuperblockFlag& row : kSuperblock)
        if (name == row.name) flag = &row;
      if (!flag) step.list.push_back(name);
      else if (*flag->key) step.list.push_back(flag->key);
    }
  }
  if (attributes.recursive) step.z |= kBindRecursiveAttributes;
  if (bind && !remount) complete_bind(in_user_namespace, attributes);
  step.x = attributes.set;
  step.y = attributes.clear & ~attributes.set;
  // MOUNT_ATTR__ATIME is a field, not a bit: it may stay in `clear` beside a value in `set`.
  if (attributes.clear & MOUNT_ATTR__ATIME) step.y |= MOUNT_ATTR__ATIME;
  if (step.z & kCopyUp && (bind || mount.type != "tmpfs")) return invalid("'tmpcopyup' is for tmpfs alone");
  if (step.z & kCopyLink && step.z & (kSourceNoFollow | kTargetNoFollow))
    return invalid("'copy-symlink' can't be given beside 'src-nofollow' or 'dest-nofollow'");
  if (remount) {
    step.op = Op::kRemount;
    step.list.clear();
    return step;
  }
  if (bind) {
    step.op = Op::kBind;
    if (mount.source.empty()) return invalid("a bind mount needs a source");
    if (mount.source[0] != '/') return invalid("source '" + mount.source + "' must be absolute");
    // What is left is data for a file system, which mount(2) ignores for a bind.
    step.list.clear();
    step.a = mount.source;
    return step;
  }
  if (mount.type.empty()) return invalid("type is required");
  if (mount.type == "tmpfs" && std::none_of(step.list.begin(), step.list.end(),
                                            [](const std::string& o) { return o.starts_with("mode="); }))
    step.z |= kInheritMode;
  step.a = mount.type;
  step.c = mount.source.empty() ? mount.type : mount.source;
  return step;
}

}  // namespace runtime
