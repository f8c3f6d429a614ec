// Plugins that fill in what a class says: Priority (a Pod's priority from its PriorityClass) and
// DefaultStorageClass (a claim's class where none is named).
// Source: kubernetes.io, "Pod Priority and Preemption", "Change the default StorageClass".
#pragma once

#include <memory>

#include "api/client/client.h"
#include "master/admission.h"
#include "master/object_cache.h"

namespace master {

std::unique_ptr<AdmissionPlugin> make_priority_admission(const ObjectCache& priority_classes);
std::unique_ptr<AdmissionPlugin> make_default_storage_class(const ObjectCache& storage_classes);

// system-node-critical and system-cluster-critical, which every cluster has: made where they are
// absent. The client must outlive its calls.
void ensure_system_priority_classes(const ObjectCache& priority_classes, api::Client& client);

}  // namespace master
