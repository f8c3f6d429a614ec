// The directories of containers: made, found, locked, removed. Every change is a recorded intent
// first, so that `rm -f` clears up after a kill at any point. Needs root.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "cli/container_record.h"
#include "cli/places.h"

namespace cli {

// One start, stop or removal of a container at a time; closing it lets go, so a killed holder does.
base::Result<base::UniqueFd> lock_container(const Places& places, const std::string& id);

std::string new_id();                            // 64 hex digits
std::string short_id(const std::string& id);     // its first twelve
std::string random_name(const std::string& id);  // "steady_keel": of the id, so that it is no second source
base::Status check_name(const std::string& name);

// Takes the name and writes the record; kExists when the name is another container's. `durable`:
// before it returns it has reached the disk.
base::Status create_container(const Places& places, const Record& record, bool durable);
// By name, id or the beginning of an id. kNotFound; kConflict when several begin so.
base::Result<std::string> find_container(const Places& places, const std::string& word);
base::Result<std::vector<std::string>> list_containers(const Places& places);
base::Result<Record> read_record(const Places& places, const std::string& id);
State read_state(const Places& places, const std::string& id);
base::Status write_state(const Places& places, const std::string& id, const State& state);
// Its name, when no record says which: of a creation that was cut off.
base::Status drop_name(const Places& places, const std::string& id);
// Takes away name, directory and anonymous volumes; what runs and its network are gone already.
base::Status remove_container(const Places& places, const std::string& id);

}  // namespace cli
