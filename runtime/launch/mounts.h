// Mounts: OCI mount options as data (pure), and the child's side: the root, file systems and binds,
// with every target resolved beneath the root by fd. Never follows a symlink out of the root and
// never mounts by path string.
#pragma once

#include "base/result.h"
#include "runtime/launch/child.h"
#include "runtime/launch/step.h"
#include "runtime/spec/config.h"
#include "runtime/spec/mount_words.h"

namespace runtime {

std::string attributes_text(uint64_t attributes);  // "ro,nosuid"

// One mount of the config as a step; kInvalid names the option that no file system or kernel knows.
base::Result<Step> plan_mount(const Mount& mount, bool in_user_namespace = false);

int child_propagation(Child& child, const Step& step);
int child_root_overlay(Child& child, const Step& step);
int child_root_bind(Child& child, const Step& step);
int child_mount(Child& child, const Step& step);
int child_bind(Child& child, const Step& step);
int child_remount(Child& child, const Step& step);
int child_copy_up(int from, int to);  // directories' fds: all that is in one
int child_cgroup_bind(Child& child, const Step& step);
int child_pivot(Child& child, const Step& step);

// Shared with devices and masks. fds returned are O_PATH; negative = -errno.
int open_in_root(const Child& child, const char* path, uint64_t flags, uint64_t extra_resolve = 0);
enum class Make { kDirectory, kFile };
int make_in_root(const Child& child, const char* path, Make what);
// The open parent directory of `path` (made if absent); *name points at its last component.
int parent_in_root(const Child& child, const char* path, const char** name);
// The same for steps that make one entry after the other in one directory: stays open in the child
// until a step of another kind calls drop_parent (a mount could cover the directory).
int kept_parent_in_root(Child& child, const char* path, const char** name);
void drop_parent(Child& child);
unsigned bind_source_flags(uint64_t flags);  // of open_tree, from a kBind's z
int attach(int mount, int target);           // move_mount
int set_attributes(int mount, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive);

}  // namespace runtime
