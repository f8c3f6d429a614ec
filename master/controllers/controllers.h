// All controllers of the master behind one door: shared informers over `transport`, then one
// reconciler per concern (replicas, Deployments, DaemonSets, StatefulSets, Jobs, endpoints, load balancers,
// namespaces, nodes, garbage, Pod GC, volumes, tokens, certificates, aggregated
// roles).
// Never talks to the store, never keeps a whole Pod; everything runs on the loop's thread.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "api/client/client.h"
#include "api/cluster_addresses.h"
#include "base/clock.h"
#include "base/loop.h"
#include "base/tls.h"

namespace master::controllers {

struct Options {
  std::string cluster_cidr = "10.244.0.0/16";  // node Pod CIDRs are cut from it; "" allocates none
  int node_mask_size = 24;
  std::string service_cidr = "10.96.0.0/16";
  // Address pools of load balancers beside those of the ConfigMap, and whether somebody else serves them all.
  std::map<std::string, std::string> load_balancer_pools = {};
  bool load_balancers_of_others = false;
  api::ClusterAddresses reserved_addresses = {};  // what no Service may claim, beside the nodes' addresses
  std::string ca_pem;                             // goes into ConfigMap kube-root-ca.crt
  base::tls::KeyPair signing_ca = {};             // answers CertificateSigningRequests
  // Signs a token without an end for a Secret of an account; none: such Secrets are left alone.
  std::function<base::Result<std::string>(const std::string& ns, const std::string& account,
                                          const std::string& account_uid, const std::string& secret)>
      issue_account_token = {};
  std::string cluster_domain = "cluster.local";
  base::Duration node_grace = std::chrono::seconds(40);       // lease not renewed: NotReady
  base::Duration node_quarantine = std::chrono::seconds(40);  // before Pods of a deleted node go
  int terminated_pod_threshold = 12500;
  std::function<base::Time()> now = base::wall_now;
  // How a controller acts, by its account's name ("deployment-controller"); none: as it reads.
  std::function<std::shared_ptr<api::Transport>(const std::string& account)> transport_of = {};
};

class Controllers {
 public:
  // Does nothing until start(). Destroying it stops all work; requests in flight are dropped.
  Controllers(base::Loop& loop, std::shared_ptr<api::Transport> transport, Options options);
  ~Controllers();
  // Once, when the API server answers (it may also come up later: informers retry).
  void start();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace master::controllers
