#include "master/controllers/controllers.h"

#include "master/controllers/account_secret_controller.h"
#include "master/controllers/autoscaler_controller.h"
#include "master/controllers/certificate_controller.h"
#include "master/controllers/cron_job_controller.h"
#include "master/controllers/daemon_set_controller.h"
#include "master/controllers/deployment_controller.h"
#include "master/controllers/disruption_controller.h"
#include "master/controllers/endpoints_controller.h"
#include "master/controllers/ephemeral_volume_controller.h"
#include "master/controllers/garbage_controller.h"
#include "master/controllers/hub.h"
#include "master/controllers/job_controller.h"
#include "master/controllers/load_balancer_controller.h"
#include "master/controllers/namespace_controller.h"
#include "master/controllers/node_controller.h"
#include "master/controllers/pod_gc.h"
#include "master/controllers/policy_type_controller.h"
#include "master/controllers/replica_controller.h"
#include "master/controllers/role_aggregation_controller.h"
#include "master/controllers/service_address_controller.h"
#include "master/controllers/stateful_set_controller.h"
#include "master/controllers/volume_binder_controller.h"
#include "master/controllers/volume_protection_controller.h"

namespace master::controllers {

struct Controllers::Impl {
  Impl(base::Loop& loop, std::shared_ptr<api::Transport> transport, const Options& options)
      : hub(loop, std::move(transport), options),
        replication_controllers(hub, api::resources::replication_controllers),
        replica_sets(hub, api::resources::replica_sets), deployments(hub), endpoints(hub),
        load_balancers(hub), service_addresses(hub), jobs(hub), cron_jobs(hub), autoscalers(hub),
        daemon_sets(hub), stateful_sets(hub), namespaces(hub), nodes(hub), garbage(hub), disruption(hub),
        pod_gc(hub), volume_binder(hub), volume_protection(hub), ephemeral_volumes(hub), account_secrets(hub),
        certificates(hub), role_aggregation(hub), policy_types(hub) {}
  Hub hub;
  ReplicaController replication_controllers, replica_sets;
  DeploymentController deployments;
  EndpointsController endpoints;
  LoadBalancerController load_balancers;
  ServiceAddressController service_addresses;
  JobController jobs;
  CronJobController cron_jobs;
  AutoscalerController autoscalers;
  DaemonSetController daemon_sets;
  StatefulSetController stateful_sets;
  NamespaceController namespaces;
  NodeController nodes;
  GarbageController garbage;
  DisruptionController disruption;
  PodGc pod_gc;
  VolumeBinderController volume_binder;
  VolumeProtectionController volume_protection;
  EphemeralVolumeController ephemeral_volumes;
  AccountSecretController account_secrets;
  CertificateController certificates;
  RoleAggregationController role_aggregation;
  PolicyTypeController policy_types;
};

Controllers::Controllers(base::Loop& loop, std::shared_ptr<api::Transport> transport, Options options)
    : impl_(std::make_unique<Impl>(loop, std::move(transport), options)) {}
Controllers::~Controllers() = default;
void Controllers::start() { impl_->hub.start(); }

}  // namespace master::controllers
