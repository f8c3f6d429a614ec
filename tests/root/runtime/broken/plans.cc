// Linked into sampan-oci-broken in place of the planner and of the program's own protection: the
// same plans with what keeps a container in taken out of them.
#include <sys/mount.h>

#include "runtime/launch/entry.h"
#include "runtime/launch/launch.h"
#include "runtime/launch/plan.h"

namespace runtime {

base::Result<LaunchPlan> real_plan_launch(const Config& config, const LaunchFacts& facts) asm(
    "__real__ZN7runtime11plan_launchERKNS_6ConfigERKNS_11LaunchFactsE");
base::Result<LaunchPlan> real_plan_exec(const Process& process, const ExecFacts& facts) asm(
    "__real__ZN7runtime9plan_execERKNS_7ProcessERKNS_9ExecFactsE");
base::Result<LaunchPlan> broken_plan_launch(const Config& config, const LaunchFacts& facts) asm(
    "__wrap__ZN7runtime11plan_launchERKNS_6ConfigERKNS_11LaunchFactsE");
base::Result<LaunchPlan> broken_plan_exec(const Process& process, const ExecFacts& facts) asm(
    "__wrap__ZN7runtime9plan_execERKNS_7ProcessERKNS_9ExecFactsE");
base::Status broken_protect_own_program(char**) asm("__wrap__ZN7runtime19protect_own_programEPPc");

namespace {
LaunchPlan weakened(LaunchPlan plan) {
  for (Step& step : plan.steps) {
    if (step.op == Op::kCapabilities) step.z = step.y;                       // CVE-2022-29162
    if (step.op == Op::kCgroupBind) step.x &= ~uint64_t{MOUNT_ATTR_RDONLY};  // CVE-2023-25809
    if (step.op == Op::kUser && step.y == 0) step.x = 0;                     // CVE-2026-30892
    if (step.op == Op::kCloseFds) step.x = ~0u;                              // leaked fds
  }
  return plan;
}
}  // namespace

base::Result<LaunchPlan> broken_plan_launch(const Config& config, const LaunchFacts& facts) {
  return weakened(TRY(real_plan_launch(config, facts)));
}
base::Result<LaunchPlan> broken_plan_exec(const Process& process, const ExecFacts& facts) {
  return weakened(TRY(real_plan_exec(process, facts)));
}
base::Status broken_protect_own_program(char**) { return {}; }

}  // namespace runtime
