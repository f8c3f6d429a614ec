// Columns and cells of every kind of table_kinds.cc; wide cells in brackets.
#include "api/table/cells.h"

#include <gtest/gtest.h>

#include "api/yaml.h"

namespace api {
namespace {

const base::Time kNow = *base::parse_time("2026-01-02T12:00:00Z");

std::string head(std::string_view gvk) {
  std::string out;
  for (const json::value& column : table_columns(gvk)) {
    std::string name(base::string_at(column, "name"));
    out +=
        (out.empty() ? "" : " | ") + (base::as_int(base::find(column, "priority")) ? "[" + name + "]" : name);
  }
  return out;
}
std::string row(std::string_view gvk, std::string_view yaml) {
  auto object = parse_yaml(yaml);
  if (!object.ok()) return object.error().message();
  base::object_at(object->at(0).get_object(), "metadata")["creationTimestamp"] = "2026-01-02T11:59:00Z";
  base::object_at(object->at(0).get_object(), "metadata")["name"] = "x";
  json::array columns = table_columns(gvk), cells = table_cells(gvk, object->at(0), kNow);
  std::string kept;
  append_cells(kept, open_cells(gvk, object->at(0)), kNow);
  EXPECT_EQ(kept, json::serialize(cells));
  if (columns.size() != cells.size()) return "columns and cells differ in number";
  std::string out;
  for (size_t i = 0; i < cells.size(); ++i) {
    std::string cell =
        cells[i].is_string() ? std::string(base::as_string(&cells[i])) : base::to_json(cells[i]);
    out += (out.empty() ? "" : " | ") +
           (base::as_int(base::find(columns[i], "priority")) ? "[" + cell + "]" : cell);
    EXPECT_TRUE(base::string_at(columns[i], "type") != "integer" || cells[i].is_int64())
        << gvk << " " << columns[i];
  }
  return out;
}

TEST(TableKinds, EveryRowHasACellForEachColumn) {
  for (const auto& [gvk, kind] : table::more_kinds())
    EXPECT_EQ(table_cells(gvk, json::object{{"metadata", json::object()}}, kNow).size(), kind.columns.size())
        << gvk;
}

TEST(TableKinds, Workloads) {
  const std::string kTemplate =
      "template: {metadata: {labels: {a: b}}, spec: {nodeSelector: {d: s}, containers: [{name: c, image: i}, "
      "{name: e, image: j}]}}";
  EXPECT_EQ(head("apps/v1/DaemonSet"),
            "Name | Desired | Current | Ready | Up-to-date | Available | Node Selector | Age | [Containers] "
            "| [Images] | [Selector]");
  EXPECT_EQ(row("apps/v1/DaemonSet",
                "spec: {selector: {matchLabels: {a: b}}, " + kTemplate +
                    "}\nstatus: {desiredNumberScheduled: 3, currentNumberScheduled: 2, numberReady: 1}"),
            "x | 3 | 2 | 1 | 0 | 0 | d=s | 60s | [c,e] | [i,j] | [a=b]");
  EXPECT_EQ(head("apps/v1/StatefulSet"), "Name | Ready | Age | [Containers] | [Images]");
  EXPECT_EQ(row("apps/v1/StatefulSet", "spec: {replicas: 3, " + kTemplate + "}\nstatus: {readyReplicas: 2}"),
            "x | 2/3 | 60s | [c,e] | [i,j]");
  EXPECT_EQ(head("batch/v1/Job"),
            "Name | Status | Completions | Duration | Age | [Containers] | [Images] | [Selector]");
  EXPECT_EQ(row("batch/v1/Job", "spec: {completions: 3, " + kTemplate +
                                    "}\nstatus: {succeeded: 1, startTime: '2026-01-02T11:59:30Z'}"),
            "x | Running | 1/3 | 30s | 60s | [c,e] | [i,j] | [<none>]");
  EXPECT_EQ(
      row("batch/v1/Job", "spec: {parallelism: 4, " + kTemplate +
                              "}\nstatus: {succeeded: 1, conditions: [{type: Complete, status: 'True'}], "
                              "startTime: '2026-01-02T11:59:30Z', completionTime: '2026-01-02T11:59:40Z'}"),
      "x | Complete | 1/1 of 4 | 10s | 60s | [c,e] | [i,j] | [<none>]");
  EXPECT_EQ(head("batch/v1/CronJob"),
            "Name | Schedule | Timezone | Suspend | Active | Last Schedule | Age | [Containers] | [Images] | "
            "[Selector]");
  EXPECT_EQ(row("batch/v1/CronJob",
                "spec: {schedule: '@daily', suspend: false, jobTemplate: {spec: {" + kTemplate +
                    "}}}\nstatus: {active: [{name: a}], lastScheduleTime: '2026-01-02T11:00:00Z'}"),
            "x | @daily | <none> | False | 1 | 60m | 60s | [c,e] | [i,j] | [<none>]");
  EXPECT_EQ(row("v1/PodTemplate", "{" + kTemplate + "}"), "x | c,e | i,j | a=b");
  EXPECT_EQ(row("apps/v1/ControllerRevision",
                "{revision: 2, metadata: {ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: "
                "db, controller: true}]}}"),
            "x | statefulset.apps/db | 2 | 60s");
}

TEST(TableKinds, Networking) {
  EXPECT_EQ(head("networking.k8s.io/v1/Ingress"), "Name | Class | Hosts | Address | Ports | Age");
  EXPECT_EQ(row("networking.k8s.io/v1/Ingress",
                "spec: {ingressClassName: e, rules: [{host: a}, {host: b}, {host: c}, {host: d}], tls: "
                "[{}]}\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.1}, {hostname: h}]}}"),
            "x | e | a,b,c + 1 more... | 192.0.2.1,h | 80, 443 | 60s");
  EXPECT_EQ(row("networking.k8s.io/v1/Ingress", "spec: {}"), "x | <none> | * |  | 80 | 60s");
  EXPECT_EQ(row("networking.k8s.io/v1/IngressClass",
                "spec: {controller: a.b/c, parameters: {apiGroup: g, kind: K, name: m}}"),
            "x | a.b/c | K.g/m | 60s");
  EXPECT_EQ(row("networking.k8s.io/v1/NetworkPolicy", "spec: {podSelector: {}}"), "x | <none> | 60s");
  EXPECT_EQ(
      row("networking.k8s.io/v1/IPAddress", "spec: {parentRef: {resource: services, namespace: d, name: s}}"),
      "x | services/d/s | 60s");
  EXPECT_EQ(row("networking.k8s.io/v1/ServiceCIDR", "spec: {cidrs: [a, b]}"), "x | a,b | 60s");
}

TEST(TableKinds, Volumes) {
  EXPECT_EQ(head("v1/PersistentVolume"),
            "Name | Capacity | Access Modes | Reclaim Policy | Status | Claim | StorageClass | "
            "VolumeAttributesClass | Reason | Age | [VolumeMode]");
  EXPECT_EQ(row("v1/PersistentVolume",
                "spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteMany, ReadWriteOnce], "
                "persistentVolumeReclaimPolicy: Retain, claimRef: {namespace: d, name: c}, storageClassName: "
                "s, volumeMode: Block}\nstatus: {phase: Bound}"),
            "x | 1Gi | RWO,RWX | Retain | Bound | d/c | s | <unset> |  | 60s | [Block]");
  EXPECT_EQ(head("v1/PersistentVolumeClaim"),
            "Name | Status | Volume | Capacity | Access Modes | StorageClass | VolumeAttributesClass | Age | "
            "[VolumeMode]");
  EXPECT_EQ(row("v1/PersistentVolumeClaim",
                "spec: {accessModes: [ReadWriteOnce], storageClassName: s}\nstatus: {phase: Pending}"),
            "x | Pending |  |  |  | s | <unset> | 60s | [<unset>]");
  EXPECT_EQ(row("v1/PersistentVolumeClaim",
                "spec: {volumeName: v}\nstatus: {phase: Bound, accessModes: [ReadWriteOnce], capacity: "
                "{storage: 1Gi}}"),
            "x | Bound | v | 1Gi | RWO |  | <unset> | 60s | [<unset>]");
  EXPECT_EQ(row("storage.k8s.io/v1/StorageClass",
                "{provisioner: p, metadata: {annotations: {storageclass.kubernetes.io/is-default-class: "
                "'true'}}, reclaimPolicy: Retain}"),
            "x (default) | p | Retain | Immediate | false | 60s");
  EXPECT_EQ(row("storage.k8s.io/v1/CSIDriver",
                "spec: {attachRequired: true, volumeLifecycleModes: [Persistent, Ephemeral]}"),
            "x | true | false | false | <unset> | false | Persistent,Ephemeral | 60s");
  EXPECT_EQ(row("storage.k8s.io/v1/CSINode", "spec: {drivers: [{name: a}]}"), "x | 1 | 60s");
  EXPECT_EQ(
      row("storage.k8s.io/v1/VolumeAttachment",
          "spec: {attacher: a, nodeName: m, source: {persistentVolumeName: v}}\nstatus: {attached: true}"),
      "x | a | v | m | true | 60s");
}

TEST(TableKinds, PolicyAndScaling) {
  EXPECT_EQ(
      row("policy/v1/PodDisruptionBudget", "spec: {minAvailable: 50%}\nstatus: {disruptionsAllowed: 1}"),
      "x | 50% | N/A | 1 | 60s");
  EXPECT_EQ(head("v1/ResourceQuota"), "Name | Request | Limit | Age");
  EXPECT_EQ(
      row("v1/ResourceQuota", "status: {hard: {pods: '5', limits.cpu: '2', cpu: '4'}, used: {pods: '1'}}"),
      "x | cpu: 0/4, pods: 1/5 | limits.cpu: 0/2 | 60s");
  EXPECT_EQ(head("autoscaling/v2/HorizontalPodAutoscaler"),
            "Name | Reference | Targets | MinPods | MaxPods | Replicas | Age");
  EXPECT_EQ(row("autoscaling/v2/HorizontalPodAutoscaler",
                "spec: {scaleTargetRef: {kind: Deployment, name: d}, minReplicas: 1, maxReplicas: 5, "
                "metrics: [{type: Resource, resource: {name: cpu, target: {averageUtilization: 70}}}, {type: "
                "Pods, pods: {target: {averageValue: '100'}}}, {type: External}]}\n"
                "status: {currentReplicas: 2, currentMetrics: [{type: Resource, resource: {name: cpu, "
                "current: {averageUtilization: 30}}}]}"),
            "x | Deployment/d | cpu: 30%/70%, <unknown>/100 + 1 more... | 1 | 5 | 2 | 60s");
  EXPECT_EQ(row("autoscaling/v1/HorizontalPodAutoscaler",
                "spec: {scaleTargetRef: {kind: Deployment, name: d}, maxReplicas: 5, "
                "targetCPUUtilizationPercentage: 70}"),
            "x | Deployment/d | cpu: <unknown>/70% | <unset> | 5 | 0 | 60s");
  EXPECT_EQ(row("scheduling.k8s.io/v1/PriorityClass", "{value: 5, preemptionPolicy: Never}"),
            "x | 5 | false | 60s | Never");
}

TEST(TableKinds, WhoMayDoWhat) {
  EXPECT_EQ(head("rbac.authorization.k8s.io/v1/RoleBinding"),
            "Name | Role | Age | [Users] | [Groups] | [ServiceAccounts]");
  EXPECT_EQ(row("rbac.authorization.k8s.io/v1/RoleBinding",
                "{roleRef: {kind: ClusterRole, name: view}, subjects: [{kind: User, name: u}, {kind: Group, "
                "name: g}, {kind: ServiceAccount, namespace: d, name: s}]}"),
            "x | ClusterRole/view | 60s | [u] | [g] | [d/s]");
  EXPECT_EQ(row("certificates.k8s.io/v1/CertificateSigningRequest",
                "spec: {signerName: s, username: u, expirationSeconds: 3600}\nstatus: {conditions: [{type: "
                "Approved}], certificate: YQ==}"),
            "x | 60s | s | u | 60m | Approved,Issued");
  EXPECT_EQ(row("apiregistration.k8s.io/v1/APIService",
                "spec: {service: {namespace: d, name: s}}\nstatus: {conditions: [{type: Available, status: "
                "'False', reason: Gone}]}"),
            "x | d/s | False (Gone) | 60s");
}

TEST(TableKinds, TheServerItself) {
  EXPECT_EQ(row("v1/ComponentStatus", "conditions: [{type: Healthy, status: 'True', message: ok}]"),
            "x | Healthy | ok | ");
  EXPECT_EQ(row("admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration", "webhooks: [{}, {}]"),
            "x | 2 | 60s");
  EXPECT_EQ(row("admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding",
                "spec: {policyName: p, paramRef: {name: m}}"),
            "x | p | */m | 60s");
  EXPECT_EQ(row("flowcontrol.apiserver.k8s.io/v1/FlowSchema",
                "spec: {priorityLevelConfiguration: {name: p}, matchingPrecedence: 9}\nstatus: {conditions: "
                "[{type: Dangling, status: 'False'}]}"),
            "x | p | 9 | <none> | 60s | False");
  EXPECT_EQ(row("flowcontrol.apiserver.k8s.io/v1/PriorityLevelConfiguration",
                "spec: {type: Limited, limited: {nominalConcurrencyShares: 5, limitResponse: {type: Queue, "
                "queuing: {queues: 8, handSize: 2, queueLengthLimit: 50}}}}"),
            "x | Limited | 5 | 8 | 2 | 50 | 60s");
  EXPECT_EQ(row("resource.k8s.io/v1/ResourceClaim", "status: {allocation: {}, reservedFor: [{}]}"),
            "x | allocated,reserved | 60s");
  EXPECT_EQ(row("events.k8s.io/v1/Event",
                "{regarding: {kind: Pod, name: p}, note: done, reason: R, type: Normal, deprecatedCount: 2, "
                "eventTime: '2026-01-02T11:59:00Z', reportingController: c}"),
            "60s | Normal | R | pod/p | [] | [c] | done | [60s] | [2] | [x]");
}

}  // namespace
}  // namespace api
