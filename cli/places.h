// Where containers of this host are kept, and what they are given of it: every directory, the
// control group, the bridge. All are flags of `sampan` and environment variables, so that several
// sets of containers run side by side on one machine and never see each other.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace cli {

// Layout, and who writes it:
//   <root>/containers/<id>/record.json      what was asked for; never changes (container_store.h)
//   <root>/containers/<id>/state.json       what became of it; replaced by rename
//   <root>/containers/<id>/{log,hosts,hostname,resolv.conf,work/}
//   <root>/containers/<id>/lock             flock: one start, stop or removal at a time
//   <root>/names/<name>                     symbolic link to the id: the name is taken
//   <root>/volumes/<name>/                  named volumes
//   <run>/<id>.sock, <run>/<id>.json        sampan-pod's
//   <run>/addresses/<address>               symbolic link to the id: the address is taken
//   <run>/ports/<protocol>:<ip>:<port>      symbolic link to the id: the host's port is taken
struct Places {
  std::string root = "/var/lib/sampan";
  std::string run_dir = "/run/sampan/containers";
  std::string images;  // empty: <root>/images
  std::string cgroup_parent = "/sampan/containers";
  std::string bridge = "sampan-run";  // the kubelet's is sampan0: both may be on one host
  std::string subnet = "10.87.0.0/16";
  std::string pod_program;  // sampan-pod; empty: beside this program
  std::string registries = "/etc/sampan/registries.json";
  bool registries_given = false;

  std::string image_root() const { return images.empty() ? root + "/images" : images; }
  std::string containers() const { return root + "/containers"; }
  std::string container(const std::string& id) const { return containers() + "/" + id; }
  std::string names() const { return root + "/names"; }
  std::string volumes() const { return root + "/volumes"; }
  std::string addresses() const { return run_dir + "/addresses"; }
  std::string ports() const { return run_dir + "/ports"; }
  std::string table() const;  // nftables' name of this bridge's table
  // The flags that lead another `sampan` to the same places.
  std::vector<std::string> flags() const;
};
void add_places(CLI::App& app, Places& places);
std::string own_program();                            // path of the running `sampan`
std::string program_beside(const std::string& name);  // "sampan-pod": in our directory or in ../libexec

}  // namespace cli
