#include "runtime/oci/options.h"

#include <fmt/format.h>

namespace runtime {
namespace {

// Of several commands.
constexpr OptionRow kBundleOption = {"bundle", 'b', true,
                                     "directory of config.json (default: the current one)"};
constexpr OptionRow kConfigOption = {"config", 'f', true, "file to read instead of the bundle's config.json"};
constexpr OptionRow kRegexOption = {"regex", 'r', false, "ID is a regular expression: of all that match"};
constexpr OptionRow kConsoleSocketOption = {"console-socket", 0, true,
                                            "unix socket that gets the terminal's master"};
constexpr OptionRow kPidFileOption = {"pid-file", 0, true, "file that gets the process id"};
constexpr OptionRow kPidfdSocketOption = {"pidfd-socket", 0, true,
                                          "unix socket that gets a pidfd of the process"};
constexpr OptionRow kPreserveFdsOption = {"preserve-fds", 0, true, "number of further fds to pass (3, 4, …)"};
constexpr OptionRow kNoPivotOption = {"no-pivot", 0, false,
                                      "chroot instead of pivot_root: for a root on a ramfs"};
constexpr OptionRow kNoNewKeyringOption = {"no-new-keyring", 0, false,
                                           "accepted: no session keyring is made"};
constexpr OptionRow kDetachOption = {"detach", 'd', false, "return when the program runs"};
constexpr OptionRow kNoSubreaperOption = {"no-subreaper", 0, false, "accepted: we are none"};
constexpr OptionRow kFormatOption = {"format", 'f', true, "table or json"};
constexpr OptionRow kImagePathOption = {"image-path", 0, true,
                                        "directory of the image (default ./checkpoint)"};
constexpr OptionRow kWorkPathOption = {"work-path", 0, true,
                                       "directory of criu's logs (default: that of the image)"};
constexpr OptionRow kTcpEstablishedOption = {"tcp-established", 0, false, "keep connections"};
constexpr OptionRow kExtUnixSkOption = {"ext-unix-sk", 0, false, "with unix sockets of others"};
constexpr OptionRow kShellJobOption = {"shell-job", 0, false, "with a terminal"};
constexpr OptionRow kLazyPagesOption = {"lazy-pages", 0, false, "memory on demand"};
constexpr OptionRow kFileLocksOption = {"file-locks", 0, false, "with file locks"};
constexpr OptionRow kAutoDedupOption = {"auto-dedup", 0, false, "drop pages that are there already"};
constexpr OptionRow kEmptyNsOption = {"empty-ns", 0, true, "network: without what is in that namespace"};
constexpr OptionRow kManageCgroupsModeOption = {"manage-cgroups-mode", 0, true,
                                                "soft, full, strict or ignore"};

constexpr OptionRow kGlobal[] = {
    {"root", 0, true, "state directory (default /run/sampan-oci)"},
    {"log", 0, true, "file that errors and what --debug tells are written to"},
    {"log-format", 0, true, "text or json"},
    {"log-level", 0, true, "debug, info, warning or error"},
    {"debug", 0, false, "tell each action of a launch; the same as --log-level debug"},
    {"systemd-cgroup", 0, false, "cgroupsPath is slice:prefix:name; systemd makes the cgroup"},
    {"rootless", 0, true, "auto, true or false: accepted, what we may do is looked up"},
    {"criu", 0, true, "the program (default criu)"},
    {"help", 'h', false, "show this"},
    {"version", 'v', false, "show the version"}};
constexpr OptionRow kCreate[] = {kBundleOption,  kConfigOption,      kConsoleSocketOption,
                                 kPidFileOption, kPidfdSocketOption, kPreserveFdsOption,
                                 kNoPivotOption, kNoNewKeyringOption};
constexpr OptionRow kRun[] = {
    kBundleOption,        kConfigOption,
    kDetachOption,        {"keep", 0, false, "do not delete the container when it ends"},
    kConsoleSocketOption, kPidFileOption,
    kPidfdSocketOption,   kPreserveFdsOption,
    kNoSubreaperOption,   kNoPivotOption,
    kNoNewKeyringOption};
constexpr OptionRow kKill[] = {{"all", 'a', false, "every process of the container"}, kRegexOption};
constexpr OptionRow kDelete[] = {{"force", 'f', false, "kill it first; nothing to delete is fine"},
                                 kRegexOption};
constexpr OptionRow kExec[] = {
    {"process", 'p', true, "process.json instead of a command"},
    {"cwd", 0, true, "working directory"},
    {"env", 'e', true, "NAME=value, repeatable"},
    {"tty", 't', false, "with a terminal"},
    {"user", 'u', true, "UID[:GID]"},
    {"additional-gids", 'g', true, "supplementary group, repeatable"},
    {"cap", 'c', true, "further capability, repeatable"},
    {"no-new-privs", 0, false, "set no_new_privs"},
    kDetachOption,
    kPidFileOption,
    kConsoleSocketOption,
    kPreserveFdsOption,
    {"apparmor", 0, true, "AppArmor profile"},
    {"process-label", 0, true, "SELinux label"},
    kPidfdSocketOption,
    {"cgroup", 0, true, "[CONTROLLER,…:]PATH below the container's cgroup, repeatable"},
    {"ignore-paused", 0, false, "also in a paused container"},
    kNoSubreaperOption};
constexpr OptionRow kList[] = {kFormatOption, {"quiet", 'q', false, "ids alone"}};
constexpr OptionRow kPs[] = {kFormatOption};
constexpr OptionRow kUpdate[] = {{"resources", 'r', true, "file with linux.resources, - for stdin"},
                                 {"memory", 0, true, "bytes"},
                                 {"memory-reservation", 0, true, "bytes"},
                                 {"memory-swap", 0, true, "bytes, memory included"},
                                 {"cpu-shares", 0, true, "weight, 2 to 262144"},
                                 {"cpu-share", 0, true, "the same"},
                                 {"cpu-quota", 0, true, "microseconds per period"},
                                 {"cpu-period", 0, true, "microseconds"},
                                 {"cpu-burst", 0, true, "microseconds"},
                                 {"cpu-idle", 0, true, "0 or 1"},
                                 {"cpu-rt-period", 0, true, "microseconds"},
                                 {"cpu-rt-runtime", 0, true, "microseconds"},
                                 {"kernel-memory", 0, true, "bytes; obsolete: the kernel ignores it"},
                                 {"kernel-memory-tcp", 0, true, "bytes"},
                                 {"l3-cache-schema", 0, true, "refused: no Intel RDT"},
                                 {"mem-bw-schema", 0, true, "refused: no Intel RDT"},
                                 {"cpuset-cpus", 0, true, "0-3,5"},
                                 {"cpuset-mems", 0, true, "0"},
                                 {"pids-limit", 0, true, "processes, -1 for no limit"},
                                 {"blkio-weight", 0, true, "10 to 1000"}};
constexpr OptionRow kSpec[] = {{"bundle", 'b', true, "where to write config.json"},
                               {"rootless", 0, false, "for an ordinary user"}};
constexpr OptionRow kEvents[] = {{"interval", 0, true, "between two statistics (default 5s)"},
                                 {"stats", 0, false, "print one and end"}};
constexpr OptionRow kCheckpoint[] = {
    kImagePathOption,
    kWorkPathOption,
    kTcpEstablishedOption,
    kExtUnixSkOption,
    kShellJobOption,
    kLazyPagesOption,
    kFileLocksOption,
    kAutoDedupOption,
    kEmptyNsOption,
    kManageCgroupsModeOption,
    {"parent-path", 0, true, "earlier image, relative to this one"},
    {"leave-running", 0, false, "do not stop the container"},
    {"tcp-skip-in-flight", 0, false, "without half-open connections"},
    {"link-remap", 0, false, "link deleted files back for a while"},
    {"pre-dump", 0, false, "memory alone, and go on"},
    {"page-server", 0, true, "ADDRESS:PORT that memory goes to"},
    {"status-fd", 0, true, "fd that gets a zero byte when the server of lazy pages is ready"}};
constexpr OptionRow kRestore[] = {kImagePathOption,
                                  kWorkPathOption,
                                  kTcpEstablishedOption,
                                  kExtUnixSkOption,
                                  kShellJobOption,
                                  kLazyPagesOption,
                                  kFileLocksOption,
                                  kAutoDedupOption,
                                  kEmptyNsOption,
                                  kManageCgroupsModeOption,
                                  kBundleOption,
                                  {"detach", 'd', false, "return when the container runs"},
                                  kConsoleSocketOption,
                                  kPidFileOption,
                                  kNoSubreaperOption,
                                  {"no-pivot", 0, false, "accepted: criu makes the root"},
                                  {"lsm-profile", 0, true, "TYPE:NAME"},
                                  {"lsm-mount-context", 0, true, "SELinux context of its mounts"}};

const CommandRow kCommands[] = {
    {"create", "ID", "make a container that waits for `start`", kCreate, 1, 1},
    {"start", "ID", "run the program of a created container", {}, 1, 1},
    {"run", "ID", "create, start, stay until it ends, delete", kRun, 1, 1},
    {"state", "ID", "print the state as JSON", {}, 1, 1},
    {"kill", "ID [SIGNAL]", "send a signal (default TERM)", kKill, 1, 2},
    {"delete", "ID", "remove what a stopped container left", kDelete, 1, 1},
    {"exec", "ID COMMAND [ARGUMENT…]", "run a further program in a container", kExec, 1, 1 << 20},
    {"list", "", "print all containers", kList, 0, 0},
    {"ps", "ID [PS-OPTION…]", "print the processes of a container", kPs, 1, 1 << 10},
    {"pause", "ID", "freeze all processes", {}, 1, 1},
    {"resume", "ID", "thaw them", {}, 1, 1},
    {"update", "ID", "change the limits", kUpdate, 1, 1},
    {"events", "ID", "print statistics and out-of-memory events as JSON", kEvents, 1, 1},
    {"checkpoint", "ID", "save a running container, by criu", kCheckpoint, 1, 1},
    {"restore", "ID", "run a saved container, by criu", kRestore, 1, 1},
    {"spec", "", "write a config.json to start from", kSpec, 0, 0},
    {"features", "", "print what this runtime can do, as JSON", {}, 0, 0}};

const OptionRow* find_row(std::span<const OptionRow> rows, std::string_view name) {
  for (const OptionRow& row : rows)
    if (name == row.name || (name.size() == 1 && row.letter && name[0] == row.letter)) return &row;
  return nullptr;
}

}  // namespace

const std::span<const OptionRow> kGlobalOptions(kGlobal);

const CommandRow* find_command(std::string_view name) {
  for (const CommandRow& command : kCommands)
    if (name == command.name) return &command;
  return nullptr;
}

base::Result<Options> Options::parse(std::span<const OptionRow> rows, std::span<char* const> words,
                                     bool interleaved) {
  Options out;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string_view word = words[i];
    if (word == "--") {
      out.arguments.insert(out.arguments.end(), words.begin() + static_cast<long>(i) + 1, words.end());
      break;
    }
    if (word.size() < 2 || word[0] != '-') {
      if (interleaved) {
        out.arguments.emplace_back(word);
        continue;
      }
      out.arguments.insert(out.arguments.end(), words.begin() + static_cast<long>(i), words.end());
      break;
    }
    std::string_view name = word.substr(word.starts_with("--") ? 2 : 1);
    size_t equals = name.find('=');
    std::string value;
    bool has_value = equals != std::string_view::npos;
    if (has_value) {
      value = name.substr(equals + 1);
      name = name.substr(0, equals);
    }
    const OptionRow* row = find_row(rows, name);
    if (!row) return base::make_error(base::Kind::kInvalid, "read option", std::string(word), "unknown");
    if (row->takes_value && !has_value) {
      if (i + 1 == words.size())
        return base::make_error(base::Kind::kInvalid, "read option", std::string(word), "needs a value");
      value = words[++i];
    }
    if (!row->takes_value && has_value) {
      if (value == "false") continue;
      if (value != "true")
        return base::make_error(base::Kind::kInvalid, "read option", std::string(word), "takes no value");
    }
    out.values_[row->name].push_back(std::move(value));
  }
  return out;
}
std::string Options::get(std::string_view name, std::string fallback) const {
  auto it = values_.find(std::string(name));
  return it == values_.end() ? fallback : it->second.back();
}
std::vector<std::string> Options::all(std::string_view name) const {
  auto it = values_.find(std::string(name));
  return it == values_.end() ? std::vector<std::string>{} : it->second;
}

namespace {
std::string options_text(std::span<const OptionRow> rows) {
  std::string out;
  for (const OptionRow& row : rows) {
    std::string name =
        row.letter ? fmt::format("-{}, --{}", row.letter, row.name) : fmt::format("    --{}", row.name);
    out += fmt::format("   {:<28} {}\n", name + (row.takes_value ? " VALUE" : ""), row.help);
  }
  return out;
}
}  // namespace

std::string usage_text(std::string_view program) {
  std::string out = fmt::format(
      "NAME:\n   {0} - Open Container Initiative runtime\n\nUSAGE:\n   {0} [OPTION…] COMMAND [OPTION…] "
      "[ARGUMENT…]\n\n"
      "   Runs containers from OCI bundles; takes the place of runc and crun.\n\nCOMMANDS:\n",
      program);
  for (const CommandRow& command : kCommands)
    out += fmt::format("   {:<12} {}\n", command.name, command.help);
  return out + "\nGLOBAL OPTIONS:\n" + options_text(kGlobalOptions);
}
std::string usage_text(std::string_view program, const CommandRow& command) {
  return fmt::format("NAME:\n   {0} {1} - {2}\n\nUSAGE:\n   {0} {1} [OPTION…] {3}\n\nOPTIONS:\n{4}", program,
                     command.name, command.help, command.arguments, options_text(command.options));
}

}  // namespace runtime
