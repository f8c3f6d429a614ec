// What a container left to say about its end, for status.terminated.message. Reads files; blocks
// for what the page cache takes. Limits: k8s.io/kubernetes/pkg/kubelet/container/runtime.go.
#pragma once

#include <cstddef>
#include <string>

namespace kubelet {

constexpr size_t kMaxMessageBytes = 4096;     // of one container's file: its end
constexpr size_t kMaxLogMessageBytes = 2048;  // of a log, in its last kMaxLogMessageLines lines
constexpr int kMaxLogMessageLines = 80;
constexpr size_t kMaxPodMessageBytes = 12 << 10;  // of all containers of a Pod, shared evenly

std::string termination_file(const std::string& path);     // empty: none
std::string termination_log(const std::string& log_path);  // the end of a CRI log as text

}  // namespace kubelet
