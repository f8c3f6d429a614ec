// What sampan-oci knows of a container between its commands: a directory <root>/<id> with
// state.json, a copy of config.json and, until `start`, exec.fifo. The directory and the state
// come before anything else exists, so that whatever point a command was killed at, `delete
// --force` finds all there is to remove. state.json has one JSON text a line, the last whole line
// counts: a second state is one append instead of a file and a rename.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "base/result.h"
#include "runtime/cgroup/cgroup.h"

namespace runtime {

enum class OciStatus { kCreating, kCreated, kRunning, kPaused, kStopped };
const char* status_name(OciStatus status);

struct OciState {
  std::string id, bundle, rootfs, cgroup;
  std::string unit;           // systemd's scope that the cgroup is; empty: none
  bool user_unit = false;     // of the user's systemd
  pid_t pid = 0;              // 0: not yet cloned
  uint64_t pid_identity = 0;  // process_identity: pids are used again
  int64_t created_ns = 0;
  uint64_t namespaces = 0;  // CLONE_NEW… that differ from the host's
  bool poststop = false;    // the config has poststop hooks: read it at the end
  base::json::object annotations;
};

class OciStore {
 public:
  explicit OciStore(std::string root) : root_(std::move(root)) {}
  const std::string& root() const { return root_; }
  std::string directory(const std::string& id) const { return root_ + "/" + id; }
  std::string fifo(const std::string& id) const { return directory(id) + "/exec.fifo"; }
  std::string cache() const { return root_ + "/.seccomp"; }

  // kExists when the id is taken. The lock is held as long as the fd lives.
  base::Result<base::UniqueFd> make(const std::string& id) const;
  base::Result<base::UniqueFd> lock(const std::string& id) const;  // kNotFound
  base::Status write(const OciState& state) const;
  base::Result<OciState> read(const std::string& id) const;
  base::Status write_config(const std::string& id, const std::string& text) const;
  base::Result<base::json::value> read_config(const std::string& id) const;
  base::Status remove(const std::string& id) const;
  base::Result<std::vector<std::string>> list() const;

  OciStatus status(const OciState& state, const CgroupLayout& layout) const;

 private:
  std::string root_;
};

// A number that no other process that had or gets this pid shares: the pidfd's inode where those are
// unique, else the start time. 0: dead, or a zombie.
uint64_t process_identity(pid_t pid);
// The `state` of the specification; hooks get it on stdin.
base::json::object state_document(const OciState& state, const char* status);
base::Status check_container_id(const std::string& id);

}  // namespace runtime
