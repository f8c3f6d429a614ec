#include "master/controllers/status_writer.h"

#include <utility>

namespace master::controllers {

void StatusWriter::write(const Meta& judged, json::object status, std::function<void(base::Status)> done,
                         Bound bound) {
  json::object meta{{"uid", judged.uid}};
  if (bound == Bound::kRevision) meta["resourceVersion"] = std::to_string(judged.revision);
  account_.client.patch(
      resource_, judged.ns, judged.name, "merge",
      json::object{{"metadata", std::move(meta)}, {"status", std::move(status)}},
      [this, key = key_.empty() ? judged.key() : key_,
       done = std::move(done)](base::Result<json::value> result) {
        if (!result.ok()) return done(result.error());
        reconciler_.gate.wrote(key, store_, revision_of(*result), hub_.now());
        done({});
      },
      "status");
}

json::object whole_status(json::object status, std::initializer_list<const char*> members) {
  for (const char* member : members)
    if (!status.contains(member)) status[member] = nullptr;
  return status;
}

}  // namespace master::controllers
