// What master and node agents agree on about volumes of class provisioner sampan.io/local: names only.
// A volume of it is a directory or an image below the root directory of one node's agent. The agent says in
// an annotation of its Node where that is; the master makes the PersistentVolume; the agent makes what it
// stands for when it is first mounted, and removes it when the PersistentVolume is deleted, which a finalizer
// waits for.
#pragma once

#include <string>
#include <string_view>

namespace api::local_volumes {

constexpr std::string_view kProvisioner = "sampan.io/local";
constexpr std::string_view kDataFinalizer = "sampan.io/local-data";
// On a Node: the directory below which its agent keeps volumes.
constexpr std::string_view kDirectoryAnnotation = "sampan.io/local-volumes";
// On a PersistentVolume: the capacity that its data has by now, in the words of spec.capacity. The master
// asks for more there; the agent says here when it is so, and the claim's status follows.
constexpr std::string_view kSizeAnnotation = "sampan.io/local-size";
// On a PersistentVolume: node_label() of the node that has it, by which the agent finds its own.
constexpr std::string_view kNodeLabel = "sampan.io/local-node";

// A node's name as the value of a label, which has 63 bytes at most; a longer one ends in its hash.
std::string node_label(std::string_view node);

// Whether the master could have given a volume this name ("pvc-UID"), which becomes the name of a directory:
// one with a dot could be taken for what is being made or removed.
inline bool is_volume_name(std::string_view name) {
  return !name.empty() && name.find_first_of("./") == name.npos;
}

}  // namespace api::local_volumes
