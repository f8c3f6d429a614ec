// ServiceAccount: a new Pod runs as an account that exists, gets the account's imagePullSecrets and,
// unless it or the account says no, the volume by which its containers reach the API server: a token,
// the cluster's CA and the namespace below /var/run/secrets/kubernetes.io/serviceaccount.
// Source: kubernetes.io, "Managing Service Accounts".
#pragma once

#include <memory>

#include "base/loop.h"
#include "master/registry/admission.h"
#include "master/registry/object_cache.h"

namespace master {

// A Pod of a namespace that was just made waits a moment for the account "default", which a
// controller is making. Loop thread only; the cache and the loop must outlive it.
std::unique_ptr<AdmissionPlugin> make_service_account_admission(base::Loop& loop, ObjectCache& accounts);

// Adds the volume and its mounts to a Pod; containers that mount something there already keep it. Pure.
void mount_account_token(base::json::value& pod, const std::string& volume_name);

}  // namespace master
