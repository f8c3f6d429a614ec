// Annotations named run.oci.…, which ask crun for what the specification has no field for. What is not
// honoured is an error that names it: a container that was to run apart (in a virtual machine, say) must
// not start as any other.
#include <algorithm>
#include <cstring>

#include "base/base64.h"
#include "runtime/spec/reader.h"

namespace runtime {

void read_annotations(Config& c, Errors& errors) {
  Extensions& out = c.extensions;
  auto value = [&](const char* key) -> const std::string* {
    auto found = c.annotations.find(key);
    return found == c.annotations.end() ? nullptr : &found->second;
  };
  auto fail = [&](const char* key, const std::string& why) {
    errors.push_back(fmt::format("annotations[{}]: {}", key, why));
  };
  auto path = [&](const char* key, std::string& into) {
    const std::string* text = value(key);
    if (!text) return;
    if (text->empty() || (*text)[0] != '/') fail(key, "must be an absolute path");
    else into = *text;
  };
  if (const std::string* keep = value("run.oci.keep_original_groups")) out.keep_groups = *keep != "0";
  path("run.oci.hooks.stdout", out.hooks_stdout);
  path("run.oci.hooks.stderr", out.hooks_stderr);
  path("run.oci.pidfd_receiver", out.pidfd_receiver);

  if (const std::string* type = value("run.oci.mount_context_type")) {
    static constexpr std::string_view kTypes[] = {"context", "fscontext", "defcontext", "rootcontext"};
    if (std::find(std::begin(kTypes), std::end(kTypes), *type) == std::end(kTypes))
      fail("run.oci.mount_context_type",
           "'" + *type + "' is not context, fscontext, defcontext or rootcontext");
    else out.mount_context = *type;
  }

  std::string receiver;
  path("run.oci.seccomp.receiver", receiver);
  if (json::object* profile = c.seccomp.if_object();
      profile && !receiver.empty() && base::string_at(c.seccomp, "listenerPath").empty())
    (*profile)["listenerPath"] = receiver;
  out.known_calls_only = value("run.oci.seccomp_fail_unknown_syscall") != nullptr;
  if (const std::string* text = value("run.oci.seccomp_bpf_data")) {
    constexpr size_t kInstruction = 8, kMostInstructions = 4096;  // sock_filter, BPF_MAXINSNS
    auto program = base::base64_decode(*text);
    if (!program) fail("run.oci.seccomp_bpf_data", "is not base64");
    else if (program->empty() || program->size() % kInstruction != 0 ||
             program->size() > kInstruction * kMostInstructions)
      fail("run.oci.seccomp_bpf_data",
           fmt::format("has {} bytes: it must be of 1 to {} instructions of {} each", program->size(),
                       kMostInstructions, kInstruction));
    else out.filter = std::move(*program);
  }

  for (const char* refused : {"run.oci.handler", "run.oci.seccomp.plugins", "run.oci.systemd.force_cgroup_v1",
                              "run.oci.systemd.subgroup", "run.oci.delegate-cgroup"})
    if (const std::string* text = value(refused); text && !text->empty())
      fail(refused, "is not supported: remove it");
}

}  // namespace runtime
