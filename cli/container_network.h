// The network of `sampan run`: a bridge with a private subnet, one address per container, the
// table in nftables that hides them behind the host's address and publishes their ports. Made when
// the first container needs it. IPv4. Nothing here enters a namespace.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/container_record.h"
#include "cli/places.h"
#include "runtime/runtime.h"

namespace cli {

// ---- pure: what nft is told --------------------------------------------------------------------
std::string nft_table(const Places& places);
// Elements of the table's maps; `add` false deletes them.
std::string nft_ports(const Places& places, const std::vector<Port>& ports, const std::string& address,
                      bool add);
// Name servers and search domains of the host that a container can use: those on loopback cannot be
// reached from it. Without any left, /etc/resolv.conf of the container is empty but for options.
std::string resolv_conf(const std::string& host_text, const Record& record);
std::string hosts_file(const Record& record, const std::string& address, const std::string& gateway);

// ---- acts --------------------------------------------------------------------------------------
// The gateway: the bridge's own address.
base::Result<std::string> gateway_address(const Places& places);
// Takes a free address for a container; the claim survives us and is dropped by release_address.
base::Result<std::string> claim_address(const Places& places, const std::string& id);
base::Status release_address(const Places& places, const std::string& id, const std::string& address);
// Makes what is missing of bridge and table.
base::Status ensure_network(const Places& places);
base::Status attach_network(const Places& places, const std::string& id, const std::string& address,
                            const runtime::Pod::Sandbox& sandbox);
// Claims the host's ports, then maps them. kConflict when another container or program has one.
base::Status publish_ports(const Places& places, const Record& record, const std::string& address);
// Of those that this container has claimed.
base::Status unpublish_ports(const Places& places, const Record& record, const std::string& address);
// All of it, whatever of it is there.
base::Status detach_network(const Places& places, const Record& record, const State& state);

}  // namespace cli
