// A command inside a container for a probe or a hook: bounded in time and in output.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "kubelet/pod/net_check.h"
#include "runtime/runtime.h"

namespace kubelet {

class ExecRun {
 public:
  virtual ~ExecRun() = default;  // `done` is not called any more; the command is killed
};
// `timeout` zero: none. `pod` must outlive the answer or be lost (then the answer is a failure).
std::unique_ptr<ExecRun> run_exec(base::Loop& loop, runtime::Pod& pod, const std::string& container,
                                  base::json::value process, base::Duration timeout,
                                  std::function<void(Outcome)> done);

}  // namespace kubelet
