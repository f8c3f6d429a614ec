// What checkpoint and restore both tell criu(8), told as runc tells it, so that images of the one are
// read by the other: the command line's part of criu_opts, directories, mounts and namespaces of the
// host. The numbers are those of criu's rpc.proto.
#pragma once

#include <sched.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "base/result.h"
#include "runtime/launch/plan.h"
#include "runtime/oci/commands.h"
#include "runtime/oci/criu.h"

namespace runtime {

// criu_opts of rpc.proto.
enum Opt : int {
  kImagesDirFd = 1,
  kPid = 2,
  kLeaveRunning = 3,
  kExtUnixSk = 4,
  kTcpEstablished = 5,
  kEvasiveDevices = 6,
  kShellJob = 7,
  kFileLocks = 8,
  kLogLevel = 9,
  kLogFile = 10,
  kPageServer = 11,
  kNotifyScripts = 12,
  kRoot = 13,
  kParentImage = 14,
  kTrackMemory = 15,
  kAutoDedup = 16,
  kWorkDirFd = 17,
  kLinkRemap = 18,
  kExtMount = 23,
  kManageCgroups = 24,
  kCgroupRoot = 25,
  kRstSibling = 26,
  kInheritFd = 27,
  kManageCgroupsMode = 34,
  kExternal = 37,
  kEmptyNs = 38,
  kJoinNs = 39,
  kFreezeCgroup = 44,
  kTcpSkipInFlight = 46,
  kLazyPages = 48,
  kOrphanPtsMaster = 50,
  kConfigFile = 51,
  kLsmProfile = 53,
  kLsmMountContext = 63
};
constexpr const char* kDescriptors = "/descriptors.json";  // in the image: what stdio was, in runc's form

// A namespace that was there before: criu leaves it alone and expects it at the restore.
struct Outer {
  uint64_t flag;
  const char *name, *key;
};
constexpr Outer kOuter[] = {{CLONE_NEWNET, "net", "extRootNetNS"}, {CLONE_NEWPID, "pid", "extRootPidNS"}};
CriuMessage pair_of(std::string_view first, std::string_view second);

// The command line's part of criu_opts; kInvalid names the option.
base::Result<CriuMessage> criu_flags(const Options& options);
// The annotation org.criu.config names a file of options that go before ours; "" for none.
void add_config_file(const base::json::object& annotations, CriuMessage& opts);

// Mounts whose source is the host's: where in the container, and what there. Of a plan, because it
// says what became of the config's on this host's cgroups.
struct ExternalMount {
  std::string target, source;
};
std::vector<ExternalMount> external_mounts(const LaunchPlan& plan);

struct CriuDirectories {
  std::string image, work;
  base::UniqueFd image_fd, work_fd;  // criu opens them through /proc/PID/fd of ours
};
base::Result<CriuDirectories> open_directories(const OciContext& context, bool make, CriuMessage& opts);
// A refusal carries what criu's log says.
base::Status run_criu(const OciContext& context, const CriuCall& call, const std::string& log);

}  // namespace runtime
