// sampan doctor: what this host lacks to run Pods, and what to do about it. Observing is apart
// from judging: judge() is pure, so every verdict has a test.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace cli {

struct Host {
  bool root = false;
  std::string kernel;                   // "6.18.44"
  std::map<std::string, int> calls;     // system call -> errno of a harmless try, 0 = works
  std::vector<std::string> namespaces;  // names in /proc/self/ns
  std::string filesystems;              // text of /proc/filesystems
  std::string mounts;                   // text of /proc/self/mountinfo
  std::string cgroup_controllers;       // text of /sys/fs/cgroup/cgroup.controllers; v2 only
  std::string seccomp_actions;
  uint64_t bounding_set = 0;  // capabilities
  std::string image_root;
  uint64_t free_bytes = 0, free_inodes = 0, inodes = 0;  // where image_root is or will be
  int trusted_xattr = 0;                                 // errno of setting one there
  std::map<std::string, std::string> probes;  // what was tried in a fresh network namespace -> "" or why not
  std::vector<std::string> absent_programs;   // of the host's and of ours
  std::vector<std::string> busy_ports;        // "127.0.0.1:10250"
  uint64_t max_files = 0;
  bool ip_forward = false, swap = false;
};

enum class Verdict { kOk, kNote, kMissing };
struct Finding {
  Verdict verdict = Verdict::kOk;
  std::string what, why, hint;
  std::string text() const;  // "missing  nft: no such program in PATH: apt-get install nftables"
};
std::vector<Finding> judge(const Host& host);
// Changes nothing: what has to be tried is tried in namespaces that end with the try.
base::Result<Host> observe_host(const std::string& image_root);

}  // namespace cli
