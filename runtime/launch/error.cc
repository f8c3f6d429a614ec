// From {step, errno} to a sentence: what was tried, on what, why it failed, and what to do.
#include <fmt/format.h>

#include <cctype>
#include <cerrno>
#include <cstring>

#include "base/sys.h"
#include "runtime/launch/identity.h"
#include "runtime/launch/parent.h"

namespace runtime {

namespace sys = base::sys;

std::string signal_text(int signal) {
  const char* name = ::sigdescr_np(signal);
  std::string out = name ? name : "unknown signal";
  out[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(out[0])));
  return fmt::format("signal: {} ({})", out, signal);
}
base::Error step_error(const Step& step, int error) {
  base::Error out = sys::error_from_errno(error, step.text());
  if (step.op == Op::kFindProgram || step.op == Op::kExec) {
    out.operation = fmt::format("exec: \"{}\"", step.a);
    // Go's words: engines tell exit codes 126 and 127 by them.
    if (error == EACCES) out.reason = "permission denied";
    if (error == ENOENT && step.op == Op::kFindProgram)
      out.reason = step.a.find('/') == std::string::npos ? "executable file not found in $PATH"
                                                         : "stat " + step.a + ": no such file or directory";
    if (step.op == Op::kExec) {  // runc's words
      out.operation = "exec " + step.a.substr(0, step.a.find(' '));
      if (error == ENOENT) out.reason = "no such file or directory";
    }
    if (error == ENOENT && step.op == Op::kExec)
      out.hint = "its interpreter or dynamic loader is missing in the image";
    if (error == ENOEXEC) out.hint = "the image may be for another architecture";
  } else if (step.op == Op::kWorkingDirectory && error == EXDEV) {
    out.reason = "is outside the container's root";
  } else if ((step.op == Op::kMask || step.op == Op::kReadonlyPath) && error == EXDEV) {
    out.reason = "is not on the container's own procfs";
  } else if (step.op == Op::kMount && error == ELOOP) {
    out.reason = "the mount point is a symbolic link: it must be mounted on ordinary directory";
  } else if (step.op == Op::kBind && step.z & kCopyLink && error == EEXIST) {
    out.reason = "the destination is there already, and no link of the same text";
  } else if (step.op == Op::kBind && error == ENOENT) {
    out.hint = "the source must exist";
  } else if (step.op == Op::kRlimit && error == EPERM) {
    out.hint = "raising a hard limit needs CAP_SYS_RESOURCE";
  } else if (step.op == Op::kOomScoreAdj && error == EACCES) {
    out.hint = "lowering it needs CAP_SYS_RESOURCE";
  } else if (step.op == Op::kLabel) {
    bool apparmor = step.a.starts_with("apparmor");
    out.subject = apparmor ? "process.apparmorProfile" : "process.selinuxLabel";
    if (error == EINVAL || error == ENOENT)
      out.hint = apparmor ? "is AppArmor on, and the profile loaded?" : "is SELinux on?";
  } else if (step.op == Op::kScheduler) {
    out.subject = "process.scheduler";
    if (error == EPERM)
      out.hint =
          "process scheduler can't be used together with AllowedCPUs, or needs CAP_SYS_NICE "
          "(sched_setattr(2))";
  } else if (step.op == Op::kWaitParent && error == EINVAL) {
    out.reason = "no id map has id 0";
  } else if (step.op == Op::kHook) {
    out.operation = fmt::format("error running {} hook #{}", step.b, step.y);
    out.subject.clear();
    out.errno_value = 0;
    out.reason = step.a + ": " +
                 (error >= kHookSignal ? signal_text(error - kHookSignal)
                  : error >= kHookExit ? fmt::format("exit code {}", error - kHookExit)
                  : error == ETIMEDOUT ? std::string("it ran into its timeout")
                                       : out.reason);
  }
  return out;
}

}  // namespace runtime
