// What a container left to say about its end, for status.terminated.message. Reads files; blocks
// for what the page cache takes. Limits: k8s.io/kubernetes/pkg/kubelet/container/runtime.go.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kubelet {

constexpr size_t kMaxMessageBytes = 4096;     // of one container's file: its end
constexpr size_t kMaxLogMessageBytes = 2048;  // of a log, in its last kMaxLogMessageLines lines
constexpr int kMaxLogMessageLines = 80;
constexpr size_t kMaxPodMessageBytes = 12 << 10;  // of all containers of a Pod, shared evenly

std::string termination_file(const std::string& path);     // empty: none
std::string termination_log(const std::string& log_path);  // the end of a CRI log as text
// Bytes that are no UTF-8 become U+FFFD: JSON can't carry them, and the status would never arrive.
std::string valid_utf8(std::string_view text);
// The first `bytes` of valid UTF-8, cut between characters.
std::string_view first_bytes(std::string_view text, size_t bytes);

}  // namespace kubelet
