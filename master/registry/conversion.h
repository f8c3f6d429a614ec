// Conversion: how the objects of one custom resource get from one of its versions into another where that is
// more than another apiVersion. Objects lie in the store and in the cache in the version in which they were
// written; each is converted once per change and version, and the bytes are kept with it
// (StoredObject::converted), so that reads are copies. Loop thread only; kept by the rows of its resource.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "master/registry/object_cache.h"

namespace master {

class Conversion {
 public:
  virtual ~Conversion() = default;
  // All to the version `to` (pruned and with its defaults); what is in it already stays.
  using Converted = std::function<void(base::Result<std::vector<base::json::value>>)>;
  virtual void convert(const ResourceInfo& to, std::vector<base::json::value> objects, Converted done) = 0;

  // Makes what text() gives; null or the Status that refuses. At once when it is all there.
  using Shown = std::function<void(base::json::value refusal)>;
  virtual void show(const ResourcePtr& in, const std::vector<ObjectRef>& objects, Shown done) = 0;
  // The object in a version; null when it has to be converted first.
  static Bytes text(const ResourceInfo& in, const StoredObject& object);
  static base::json::value refusal(const base::Error& error);
};

}  // namespace master
