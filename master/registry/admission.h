// Admission: what stands between a decoded, defaulted object and its validation (mutate), and
// between validation and the store (validate). Plugins run in the order in which they were added;
// the first refusal ends the request. Loop thread only; a plugin that asks others over the network
// overrides the forms with `done`, all others must not block.
// Source of the order: kubernetes.io, "Admission Control Phases".
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "master/registry/request.h"

namespace master {

enum class Operation : uint8_t { kCreate, kUpdate, kDelete, kConnect };
std::string_view to_string(Operation operation);  // "CREATE"…

// One write on its way. Kept until the write ended; `object` and `old` are in their stored form.
struct AdmissionAttributes {
  Operation operation = Operation::kCreate;
  RequestPtr request;    // who asks, and how
  ResourcePtr resource;  // the stored version of what is written
  std::string subresource, ns, name;
  base::json::value object;   // null for kDelete; for kConnect: its options
  base::json::value old;      // null for kCreate and kConnect
  base::json::value options;  // CreateOptions…, for webhooks
  // What `object` is where it is none of the resource: an Eviction, a TokenRequest, a PodExecOptions.
  std::optional<Subresource> body;
  bool dry_run = false;
  // A policy or a webhook changed the object: plugins that wish it have a second turn.
  bool reinvoke = false;
  std::shared_ptr<void> policy_memory;  // what MutatingAdmissionPolicy keeps between its turns
  // Called once: the write is in the store, or never will be. For what a plugin reserved.
  std::vector<std::function<void(bool committed)>> on_end;

  bool is(std::string_view group, std::string_view plural) const { return resource->is(group, plural); }
  void end(bool committed);
  ~AdmissionAttributes() { end(false); }
};
using AttributesPtr = std::shared_ptr<AdmissionAttributes>;

class AdmissionPlugin {
 public:
  using Done = std::function<void(base::json::value refusal)>;  // null: goes on
  virtual ~AdmissionPlugin() = default;
  virtual std::string_view name() const = 0;  // Kubernetes' name of it: "LimitRanger"
  // A CONNECT writes nothing: only who asks others about every request looks at it.
  virtual bool handles(Operation operation) const { return operation != Operation::kConnect; }
  // May change attributes.object; returns null or the Status that refuses.
  virtual base::json::value mutate(AdmissionAttributes&) { return nullptr; }
  virtual base::json::value validate(AdmissionAttributes&) { return nullptr; }
  virtual void mutate(AttributesPtr attributes, Done done) { done(mutate(*attributes)); }
  virtual void validate(AttributesPtr attributes, Done done) { done(validate(*attributes)); }
  // The second turn of mutate(), once all had their first and the object was changed by one that asks others.
  virtual void reinvoke(AttributesPtr, Done done) { done(nullptr); }
};

class AdmissionChain {
 public:
  using Done = AdmissionPlugin::Done;
  void add(std::unique_ptr<AdmissionPlugin> plugin) { plugins_.push_back(std::move(plugin)); }
  void mutate(AttributesPtr attributes, Done done);
  void validate(AttributesPtr attributes, Done done) {
    run(std::move(attributes), Turn::kValidate, 0, std::move(done));
  }

 private:
  enum class Turn : uint8_t { kMutate, kReinvoke, kValidate };
  void run(AttributesPtr attributes, Turn turn, size_t index, Done done);
  std::vector<std::unique_ptr<AdmissionPlugin>> plugins_;
};

}  // namespace master
