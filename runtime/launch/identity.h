// The child's last steps towards the user's program: limits, ids, filters, directory, terminal,
// execve. Never leaves a directory, an fd or a privilege of the host behind.
#pragma once

#include "runtime/launch/child.h"

namespace runtime {

int child_session();
int child_loopback();
int child_stdio(Child& child, const Step& step);
int child_rlimit(const Step& step);
// Writes below /proc by a handle of the container's own procfs, never crossing into another mount
// (CVE-2025-52881, CVE-2019-16884). `path` is relative to /proc.
int child_write_proc(Child& child, const char* path, const char* value);
int child_user(const Step& step);
int child_user_namespace_root(bool keep_groups);  // once the maps are there
int child_enter_time();                           // the time namespace made for children
int child_seccomp(Child& child, const Step& step, size_t index);
int child_working_directory(Child& child, const Step& step);  // must be inside: CVE-2024-21626
void child_home(Child& child, const Step& step);              // "/" where no line of /etc/passwd tells
int child_find_program(Child& child, const Step& step);
// Beside errno: how the hook ended.
constexpr int kHookExit = 10'000, kHookSignal = 20'000;
int child_hook(Child& child, const Step& step, const char* state, size_t state_size);
int child_exec(Child& child, const Step& step);

}  // namespace runtime
