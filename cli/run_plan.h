// From the flags of `run` and an image to a container's record, its config.json included. Pure: what
// has to be looked up comes in as facts.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/container_record.h"
#include "cli/run_options.h"
#include "runtime/runtime.h"

namespace cli {

struct PlanFacts {
  std::string id, name;
  runtime::Image image;
  runtime::User user;                  // of --user or of the image
  std::vector<std::string> env_files;  // the texts of --env-file, in order
  std::vector<std::string> label_files;
  std::vector<std::string> host_env;  // ours: for -e NAME
  std::string cwd;
  std::string container_dir, volumes_dir;    // absolute
  std::vector<std::string> anonymous_names;  // at least one per volume without a source
  std::vector<uint16_t> free_ports;          // at least one per port without a number
  base::json::value seccomp;                 // a profile given by file; null: the default
  base::json::array devices;                 // linux.devices of --device or of --privileged, looked up
  std::string init_program;                  // sampan-init, for --init
  std::vector<std::string> all_capabilities;
  unsigned cpus = 1;          // of this machine
  int rows = 0, columns = 0;  // of our terminal; 0: none
  base::Time now{};
};

base::Result<Record> plan_container(const RunOptions& options, const PlanFacts& facts);
// The process of an exec: the container's own with other arguments.
struct ExecOptions {
  bool interactive = false, tty = false, detach = false, privileged = false;
  std::vector<std::string> env, env_files, command;
  std::string workdir, user, container, detach_keys = "ctrl-p,ctrl-q";
};
base::Result<base::json::value> plan_exec_process(const ExecOptions& options, const Record& record,
                                                  const PlanFacts& facts);
// "NAME=VALUE" lines of a file: comments and empty lines left out; NAME alone is taken from `host`.
std::vector<std::string> parse_env_file(const std::string& text, const std::vector<std::string>& host);
// A record as a person reads it in a test or with --dry-run: one line per decision.
std::string plan_text(const Record& record);

}  // namespace cli
