// Records: the form in which objects lie in the store, whichever store it is, and how they are read back. A
// record that is damaged, or of another object, is an error and never more. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace master {

// An object's key within its resource, "default/web", "/node-1" where it has no namespace.
std::string object_key(std::string_view ns, std::string_view name);
// Where it lies in the store, "/apps/deployments/default/web": sorted by resource, then namespace.
struct StoredPlace {
  std::string_view group, plural, key;
};
StoredPlace place_of(std::string_view record);      // and back; of empty texts where it is no such key
std::string shown_record(std::string_view record);  // fit for a line of a log, whatever bytes it has
// What goes into the store: canonical order, no resourceVersion; and what comes out of it.
std::string to_stored_text(const base::json::value& object);
std::string with_revision(std::string_view stored, int64_t revision);
// The same, where the object may have grown too deep to be read back: kInvalid.
base::Result<std::string> to_storable_text(const std::string& key, const base::json::value& object);
// What a record of the store holds. An error says why it can't be served: no JSON, not the object that its
// key names; the second also: of another kind, or of other types than `resource` has.
base::Result<base::json::value> read_record(std::string_view key, std::string_view stored);

// The metadata of an object's text, as it stands there: a rendering copies it without parsing.
std::string_view metadata_text(std::string_view text);

// What is wrong with the record of a key.
base::Error unreadable(std::string_view key, std::string why);

}  // namespace master
