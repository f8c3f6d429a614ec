#include "runtime/oci/criu_options.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "base/sys.h"
#include "runtime/oci/launch.h"

namespace runtime {

namespace sys = base::sys;
using base::Kind;

CriuMessage pair_of(std::string_view first, std::string_view second) {
  return CriuMessage().add(1, first).add(2, second);
}

void add_config_file(const base::json::object& annotations, CriuMessage& opts) {
  const base::json::value* own = annotations.if_contains("org.criu.config");
  std::string_view path = own ? base::as_string(own) : "/etc/criu/runc.conf";
  if (!path.empty()) opts.add(kConfigFile, path);
}

std::vector<ExternalMount> external_mounts(const LaunchPlan& plan) {
  std::vector<ExternalMount> out;
  for (const Step& step : plan.steps) {
    if (step.op == Op::kBind && !(step.z & kSourceInRoot)) out.push_back({step.b, step.a});
    if (step.op != Op::kCgroupBind) continue;
    for (const std::string& entry : step.list) {
      size_t equals = entry.find("=/");  // of "name=systemd=/path"
      out.push_back({step.b + "/" + entry.substr(0, equals), entry.substr(equals + 1)});
    }
  }
  return out;
}

base::Result<CriuMessage> criu_flags(const Options& options) {
  struct Row {
    const char* option;
    int field;
  };
  constexpr Row kFlags[] = {{"leave-running", kLeaveRunning},
                            {"ext-unix-sk", kExtUnixSk},
                            {"tcp-established", kTcpEstablished},
                            {"shell-job", kShellJob},
                            {"file-locks", kFileLocks},
                            {"auto-dedup", kAutoDedup},
                            {"link-remap", kLinkRemap},
                            {"tcp-skip-in-flight", kTcpSkipInFlight},
                            {"lazy-pages", kLazyPages}};
  constexpr std::pair<std::string_view, int> kModes[] = {
      {"ignore", 0}, {"soft", 3}, {"full", 4}, {"strict", 5}, {"", 6}};
  CriuMessage out;
  for (const Row& row : kFlags) out.add_if(options.has(row.option), row.field);
  std::string mode = options.get("manage-cgroups-mode");
  const auto* known =
      std::find_if(std::begin(kModes), std::end(kModes), [&](const auto& m) { return m.first == mode; });
  if (known == std::end(kModes))
    return invalid_option("read option --manage-cgroups-mode", "invalid manage-cgroups-mode value",
                          "soft, full, strict or ignore");
  out.add(kManageCgroups, 1).add(kManageCgroupsMode, known->second);
  for (const std::string& name : options.all("empty-ns"))
    if (name != "network")
      return invalid_option("read option --empty-ns", fmt::format("namespace '{}' is not supported", name),
                            "network alone can be empty");
  if (options.has("empty-ns")) out.add(kEmptyNs, CLONE_NEWNET);
  if (options.has("page-server")) {
    std::string text = options.get("page-server");
    size_t colon = text.rfind(':');
    unsigned port = 0;
    if (colon == std::string::npos || colon == 0 ||
        std::from_chars(text.data() + colon + 1, text.data() + text.size(), port).ptr !=
            text.data() + text.size() ||
        port == 0 || port > 65535)
      return invalid_option("read option --page-server", "'" + text + "' is not ADDRESS:PORT");
    std::string address = text.substr(0, colon);
    if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
    out.add(kPageServer, CriuMessage().add(1, address).add(2, static_cast<int64_t>(port)));
  }
  if (options.has("lsm-profile")) out.add(kLsmProfile, options.get("lsm-profile"));
  if (options.has("lsm-mount-context")) out.add(kLsmMountContext, options.get("lsm-mount-context"));
  return out.add(kLogLevel, 4).add(kNotifyScripts, 1).add(kOrphanPtsMaster, 1);
}

base::Result<CriuDirectories> open_directories(const OciContext& context, bool make, CriuMessage& opts) {
  CriuDirectories out;
  out.image = context.options.get("image-path", "checkpoint");
  out.work = context.options.get("work-path", out.image);
  if (make) TRY(sys::mkdir_all(out.image, 0700));
  TRY(sys::mkdir_all(out.work, 0700));
  out.image_fd = TRY(sys::open(out.image, O_RDONLY | O_DIRECTORY));
  out.work_fd = TRY(sys::open(out.work, O_RDONLY | O_DIRECTORY));
  if (context.options.has("parent-path")) {
    std::string parent = context.options.get("parent-path");
    if (parent.starts_with("/"))
      return invalid_option("read option --parent-path", "must be relative to --image-path");
    struct stat info;
    if (::stat((out.image + "/" + parent).c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
      return invalid_option("read option --parent-path",
                            "invalid --parent-path: " + out.image + "/" + parent + " is no directory");
    opts.add(kParentImage, parent).add(kTrackMemory, 1);
  }
  opts.add(kImagesDirFd, out.image_fd.get()).add(kWorkDirFd, out.work_fd.get());
  return out;
}

namespace {
// The last lines of criu's log that speak of errors: they are the reason.
std::string log_errors(const std::string& path) {
  auto text = sys::read_file(path, 64u << 20);
  if (!text.ok()) return "it left no log";
  std::vector<std::string_view> found;
  for (std::string_view rest = *text; !rest.empty();) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (size_t at = line.find("Error ("); at != std::string_view::npos) found.push_back(line.substr(at));
  }
  std::string out;
  for (size_t i = found.size() > 3 ? found.size() - 3 : 0; i < found.size(); ++i)
    out += (out.empty() ? "" : "; ") + std::string(found[i]);
  return out.empty() ? "its log names no error" : out;
}
}  // namespace

base::Status run_criu(const OciContext& context, const CriuCall& call, const std::string& log) {
  context.log->debug(fmt::format("criu request {}", static_cast<int>(call.type)));
  CriuAnswer answer = TRY(call_criu(call));
  if (answer.success) return {};
  return base::make_error(Kind::kInternal, "criu failed", {},
                          fmt::format("errno {}: {}", answer.error, log_errors(log)), "see " + log);
}

}  // namespace runtime
