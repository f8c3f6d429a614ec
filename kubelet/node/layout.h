// Where the kubelet keeps what belongs to a Pod. Paths only; everybody who needs one asks here.
//   <root>/pods/<uid>/{hosts,hostname,resolv.conf,shm/,volumes/<name>/}
//   <root>/local-volumes/<persistent volume>/{data/,image}
//   <root>/pods/<uid>/containers/<name>/{<attempt>.log,<attempt>.termination,<attempt>.process,<attempt>/}
//   <run>/<uid>.sock (sampan-pod's), <run>/records/<uid>.json
#pragma once

#include <string>

namespace kubelet {

struct Layout {
  std::string root_dir, run_dir;

  std::string pods() const { return root_dir + "/pods"; }
  std::string pod(const std::string& uid) const { return pods() + "/" + uid; }
  // Volumes that outlive Pods (volumes/local_data.h).
  std::string local_volumes() const { return root_dir + "/local-volumes"; }
  std::string volumes(const std::string& uid) const { return pod(uid) + "/volumes"; }
  std::string volume(const std::string& uid, const std::string& name) const {
    return volumes(uid) + "/" + name;
  }
  std::string container(const std::string& uid, const std::string& name) const {
    return pod(uid) + "/containers/" + name;
  }
  // CRI log lines; the number is the attempt: the newest two are kept ("--previous").
  std::string log(const std::string& uid, const std::string& name, int attempt) const {
    return container(uid, name) + "/" + std::to_string(attempt) + ".log";
  }
  std::string termination(const std::string& uid, const std::string& name, int attempt) const {
    return container(uid, name) + "/" + std::to_string(attempt) + ".termination";
  }
  // The OCI process object it was started with: what exec and hooks start from.
  std::string process(const std::string& uid, const std::string& name, int attempt) const {
    return container(uid, name) + "/" + std::to_string(attempt) + ".process";
  }
  std::string work(const std::string& uid, const std::string& name, int attempt) const {
    return container(uid, name) + "/" + std::to_string(attempt);
  }
  // Mounts that live while a container with subPath is being started.
  std::string sub_paths(const std::string& uid) const { return pod(uid) + "/subpaths"; }
  std::string records() const { return run_dir + "/records"; }
  std::string record(const std::string& uid) const { return records() + "/" + uid + ".json"; }
};

}  // namespace kubelet
