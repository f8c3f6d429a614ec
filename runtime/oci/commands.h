// The commands of sampan-oci. Each returns the exit code or an error that main prints once.
#pragma once

#include "base/result.h"
#include "runtime/oci/log.h"
#include "runtime/oci/options.h"
#include "runtime/oci/state.h"

namespace runtime {

struct OciContext {
  OciStore store;
  Options options;
  const OciLog* log = nullptr;  // outlives the command
  bool systemd_cgroup = false;
  std::string criu = "criu";  // the program
};
base::Result<int> oci_create(const OciContext& context);
base::Result<int> oci_run(const OciContext& context);
base::Result<int> oci_start(const OciContext& context);
base::Result<int> oci_state(const OciContext& context);
base::Result<int> oci_kill(const OciContext& context);
base::Result<int> oci_delete(const OciContext& context);
base::Result<int> oci_exec(const OciContext& context);
base::Result<int> oci_list(const OciContext& context);
base::Result<int> oci_ps(const OciContext& context);
base::Result<int> oci_pause(const OciContext& context, bool pause);
base::Result<int> oci_update(const OciContext& context);
base::Result<int> oci_spec(const OciContext& context);
base::Result<int> oci_features();
base::Result<int> oci_events(const OciContext& context);
base::Result<int> oci_checkpoint(const OciContext& context);
base::Result<int> oci_restore(const OciContext& context);

// Kills what runs, removes the cgroup, runs poststop, removes the state. What is gone is fine.
base::Status destroy_container(const OciStore& store, const OciState& state);

}  // namespace runtime
