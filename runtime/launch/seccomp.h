// System call filters: the profile of linux.seccomp to BPF, over libseccomp. Compiled once per
// profile (milliseconds) and kept in memory, and on disk for a program that runs once.
#pragma once

#include <linux/filter.h>

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace runtime {

using Filter = std::shared_ptr<const std::vector<sock_filter>>;

// Names of system calls that this libseccomp does not know are left out (they are then handled by
// the default action), as the specification's other runtimes do; everything else wrong is kInvalid.
// Where the default refuses, a call with a higher number than any that is named fails with ENOSYS.
base::Result<Filter> compile_seccomp(const base::json::value& profile);

// The same through a cache. `directory` "" = in memory only. A cache file carries the profile it
// was made from; a damaged or foreign one is not used.
base::Result<Filter> load_seccomp(const base::json::value& profile, const std::string& directory);
// kInvalid with the first name of a system call that no architecture has.
base::Status check_known_calls(const base::json::value& profile);
uint64_t seccomp_flags(const base::json::value& profile);  // SECCOMP_FILTER_FLAG_…

}  // namespace runtime
