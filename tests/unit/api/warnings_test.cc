#include "api/validate/warnings.h"

#include <gtest/gtest.h>

#include "api/defaults.h"
#include "api/validate/validate.h"
#include "api/yaml.h"

namespace api {
namespace {

json::value object(std::string_view gvk, std::string_view yaml) {
  json::value out = parse_yaml(yaml).value().at(0);
  defaults(gvk, out);
  return out;
}
std::string joined(const std::vector<std::string>& all) {
  std::string out;
  for (const std::string& one : all) out += one + "\n";
  return out;
}
std::string said(std::string_view gvk, std::string_view yaml) {
  return joined(warnings(gvk, object(gvk, yaml), nullptr));
}
std::string pod(const std::string& spec, const std::string& metadata = "name: p") {
  return said("v1/Pod", "metadata: {" + metadata + "}\nspec: {" + spec + "}");
}
std::string containers(const std::string& more) { return "containers: [{name: a, image: i, " + more + "}]"; }

TEST(Warnings, NothingIsSaidOfWhatIsRight) {
  EXPECT_EQ(pod(containers("env: [{name: A, value: b}, {name: B, value: c}], ports: [{containerPort: 80}], "
                           "resources: {limits: {memory: 1Gi, cpu: 500m}}")),
            "");
  EXPECT_EQ(said("v1/Service", "spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ports: [{port: 1}]}"),
            "");
  EXPECT_EQ(said("v1/ConfigMap", "data: {a: b}"), "");
}

TEST(Warnings, OfNamesThatBecomeHostnames) {
  EXPECT_EQ(pod(containers("env: []"), "name: a.b").substr(0, 130),
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a "
            "DNS label is recommended: [a lowerca");
  EXPECT_EQ(
      said("apps/v1/Deployment", "metadata: {name: a.b}\nspec: {}").substr(0, 99),
      "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a ");
}

TEST(Warnings, OfWhatAPodSaysTwice) {
  EXPECT_EQ(
      pod(containers("env: [{name: A, value: x}, {name: A, value: $(A)y}, {name: A, value: z}, {name: A, "
                     "value: $(A)}]")),
      "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply\n"
      "spec.containers[0].env[3]: hides previous definition of \"A\", which may be dropped when using "
      "apply\n");
  EXPECT_EQ(pod("hostAliases: [{ip: 1.2.3.4}, {ip: 1.2.3.4}], imagePullSecrets: [{name: s}, {name: s}, "
                "{name: ''}], " +
                containers("env: []")),
            "spec.hostAliases[1].ip: duplicate ip \"1.2.3.4\"\nspec.imagePullSecrets[1].name: duplicate name "
            "\"s\"\nspec.imagePullSecrets[2].name: invalid empty name \"\"\n");
  EXPECT_EQ(
      pod("initContainers: [{name: z, image: i, ports: [{containerPort: 80}]}], " +
          containers("ports: [{containerPort: 80}, {containerPort: 80, hostPort: 81}, {containerPort: 90, "
                     "hostPort: 1}, {containerPort: 90, hostPort: 1, hostIP: 1.2.3.4}, {containerPort: 99, "
                     "hostIP: 1.2.3.4, name: q}]")),
      "spec.containers[0].ports[0]: duplicate port definition with spec.initContainers[0].ports[0]\n"
      "spec.containers[0].ports[1]: overlapping port definition with spec.initContainers[0].ports[0]\n"
      "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]\n"
      "spec.containers[0].ports[3]: dangerously ambiguous port definition with spec.containers[0].ports[2]\n"
      "spec.containers[0].ports[4]: hostIP set without hostPort: {Name:q HostPort:0 ContainerPort:99 "
      "Protocol:TCP HostIP:1.2.3.4}\n");
}

TEST(Warnings, OfLabelsAndAnnotationsThatNothingReads) {
  EXPECT_EQ(
      pod("nodeSelector: {beta.kubernetes.io/os: linux}, " + containers("env: []")),
      "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead\n");
  EXPECT_EQ(
      pod("affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
          "[{matchExpressions: [{key: node-role.kubernetes.io/master, operator: Exists}]}]}}}, " +
          containers("env: []")),
      "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]."
      "matchExpressions[0].key: node-role.kubernetes.io/master is use "
      "\"node-role.kubernetes.io/control-plane\" instead\n");
  EXPECT_EQ(
      pod("topologySpreadConstraints: [{topologyKey: failure-domain.beta.kubernetes.io/zone, maxSkew: 1}], " +
          containers("env: []")),
      "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated "
      "since v1.17; use \"topology.kubernetes.io/zone\" instead\n"
      "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod\n");
  EXPECT_EQ(pod("affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, "
                "podAffinityTerm: {topologyKey: k}}]}}, " +
                containers("env: []")),
            "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]."
            "podAffinityTerm.labelSelector: a null labelSelector results in matching no pod\n");
  std::string notes =
      "annotations: {scheduler.alpha.kubernetes.io/critical-pod: '', "
      "seccomp.security.alpha.kubernetes.io/pod: x, container.seccomp.security.alpha.kubernetes.io/a: x, "
      "container.apparmor.security.beta.kubernetes.io/a: x}";
  EXPECT_EQ(pod(containers("env: []"), "name: p, " + notes),
            "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use "
            "the \"priorityClassName\" field instead\n"
            "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use "
            "the \"seccompProfile\" field instead\n"
            "metadata.annotations[container.seccomp.security.alpha.kubernetes.io/a]: non-functional in "
            "v1.27+; use the \"seccompProfile\" field instead\n"
            "metadata.annotations[container.apparmor.security.beta.kubernetes.io/a]: deprecated since v1.30; "
            "use the \"appArmorProfile\" field instead\n");
  EXPECT_EQ(
      pod("securityContext: {seccompProfile: {type: RuntimeDefault}, appArmorProfile: {type: Unconfined}}, " +
              containers("securityContext: {seccompProfile: {type: Unconfined}}"),
          "name: p, annotations: {seccomp.security.alpha.kubernetes.io/pod: x, "
          "container.seccomp.security.alpha.kubernetes.io/a: x, "
          "container.apparmor.security.beta.kubernetes.io/a: x}"),
      "");
}

TEST(Warnings, OfVolumesAndAmounts) {
  EXPECT_EQ(pod("volumes: [{name: g, gitRepo: {repository: r}}, {name: s, storageos: {}}, {name: e, "
                "ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: "
                "{requests: {storage: 1500m}}}}}}], " +
                containers("env: []")),
            "spec.volumes[0].gitRepo: deprecated in v1.11\nspec.volumes[1].storageOS: deprecated in v1.22, "
            "non-functional in v1.25+\n"
            "spec.volumes[2].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: fractional byte "
            "value \"1500m\" is invalid, must be an integer\n");
  EXPECT_EQ(
      pod("overhead: {memory: 100m}, " +
          containers("resources: {limits: {memory: '1.5'}, requests: {ephemeral-storage: 1u, memory: 1}}")),
      "spec.overhead[memory]: fractional byte value \"100m\" is invalid, must be an integer\n"
      "spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be an "
      "integer\n"
      "spec.containers[0].resources.requests[ephemeral-storage]: fractional byte value \"1u\" is invalid, "
      "must be an integer\n");
  EXPECT_EQ(pod("volumes: [{name: v, configMap: {name: c, items: [{key: a, path: x}, {key: b, path: x/y}]}}, "
                "{name: w, projected: {sources: [{secret: {name: s, items: [{key: k, path: t}]}}, "
                "{serviceAccountToken: {path: t}}]}}], " +
                containers("env: []")),
            "volume \"v\" (ConfigMap \"c\"): overlapping paths: \"x/y\" with \"x\"\nvolume \"w\" (Projected "
            "ServiceAccountToken): overlapping paths: \"t\" with \"t\"\n");
}

TEST(Warnings, OfTemplatesByTheirPath) {
  const std::string bad =
      "template: {spec: {terminationGracePeriodSeconds: -1, nodeSelector: {beta.kubernetes.io/arch: x}, "
      "containers: [{name: a, image: i}]}}";
  auto expected = [](const std::string& root) {
    return root +
           ".spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use \"kubernetes.io/arch\" "
           "instead\n" +
           root +
           ".spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be "
           "treated as 1\n";
  };
  for (const char* gvk : {"apps/v1/Deployment", "apps/v1/ReplicaSet", "apps/v1/DaemonSet",
                          "apps/v1/StatefulSet", "v1/ReplicationController", "batch/v1/Job"})
    EXPECT_EQ(said(gvk, "metadata: {name: d}\nspec: {" + bad + "}"), expected("spec.template")) << gvk;
  EXPECT_EQ(said("batch/v1/CronJob",
                 "metadata: {name: d}\nspec: {schedule: '* * * * *', jobTemplate: {spec: {" + bad + "}}}"),
            expected("spec.jobTemplate.spec.template"));
  EXPECT_EQ(said("v1/PodTemplate", "metadata: {name: d}\n" + bad), expected("template"));
  // An update that changes nothing of the content says nothing.
  json::value same = object("apps/v1/Deployment", "metadata: {name: d, generation: 2}\nspec: {" + bad + "}");
  EXPECT_EQ(joined(warnings("apps/v1/Deployment", same, &same)), "");
  json::value older = object("apps/v1/Deployment", "metadata: {name: d, generation: 1}\nspec: {" + bad + "}");
  EXPECT_EQ(joined(warnings("apps/v1/Deployment", same, &older)), expected("spec.template"));
  // Of a bare Pod the number becomes 1.
  EXPECT_EQ(base::as_int(base::find_path(object("v1/Pod", "spec: {terminationGracePeriodSeconds: -7}"),
                                         "spec", "terminationGracePeriodSeconds")),
            1);
}

TEST(Warnings, OfServicesAndAddresses) {
  EXPECT_EQ(
      said("v1/Service",
           "metadata: {annotations: {service.kubernetes.io/topology-aware-hints: auto}}\nspec: {externalIPs: "
           "['FD00::1'], externalName: x, trafficDistribution: PreferClose, ports: [{port: 1}]}"),
      "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
      "service.kubernetes.io/topology-mode instead\n"
      "spec.externalIPs[0]: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")\n"
      "spec.externalIPs is deprecated and may no longer be implemented in some clusters\n"
      "spec.externalName is ignored when spec.type is not \"ExternalName\"\n"
      "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"\n");
  EXPECT_EQ(said("v1/Service",
                 "spec: {clusterIP: None, sessionAffinity: ClientIP, loadBalancerIP: 1.2.3.4, externalIPs: "
                 "[1.2.3.4]}"),
            "spec.loadBalancerIP is ignored for headless services\nspec.externalIPs is ignored for headless "
            "services\nspec.SessionAffinity is ignored for headless services\n");
  EXPECT_EQ(said("v1/Endpoints", "subsets: [{notReadyAddresses: [{ip: '::ffff:1.2.3.4'}]}]"),
            "subsets[0].notReadyAddresses[0].ip: non-standard IP address \"::ffff:1.2.3.4\" will be "
            "considered invalid in a future Kubernetes release: use \"1.2.3.4\"\n");
  EXPECT_EQ(said("networking.k8s.io/v1/NetworkPolicy",
                 "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.1/8}}]}], egress: [{to: [{ipBlock: {cidr: "
                 "'FD00::/64', except: ['fd00::/96']}}]}]}"),
            "spec.ingress[0].from[0].ipBlock.cidr: CIDR value \"10.0.0.1/8\" is ambiguous in this context "
            "(should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)\n"
            "spec.egress[0].to[0].ipBlock.cidr: IPv6 CIDR value \"FD00::/64\" should be in RFC 5952 "
            "canonical format (\"fd00::/64\")\n");
  EXPECT_EQ(
      said("networking.k8s.io/v1/Ingress", "metadata: {annotations: {kubernetes.io/ingress.class: nginx}}"),
      "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' "
      "instead\n");
}

TEST(Warnings, OfStorageNodesAndAccounts) {
  EXPECT_EQ(said("v1/PersistentVolume",
                 "metadata: {annotations: {volume.beta.kubernetes.io/storage-class: x}}\nspec: "
                 "{persistentVolumeReclaimPolicy: Recycle, cephfs: {monitors: [a]}}"),
            "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "
            "\"storageClassName\" attribute instead\n"
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the "
            "recommended approach is to use dynamic provisioning.\n"
            "spec.cephfs: deprecated in v1.28, non-functional in v1.31+\n");
  EXPECT_EQ(
      said("v1/PersistentVolumeClaim", "spec: {resources: {requests: {storage: 1500m}}}"),
      "spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer\n");
  EXPECT_EQ(said("v1/Node", "spec: {externalID: x}"),
            "spec.externalID: this field is deprecated, and is unused by Kubernetes\n");
  EXPECT_EQ(
      said("v1/ServiceAccount", "metadata: {annotations: {kubernetes.io/enforce-mountable-secrets: 'true'}}"),
      "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate "
      "namespaces to isolate access to mounted secrets\n");
  EXPECT_EQ(said("storage.k8s.io/v1/StorageClass",
                 "allowedTopologies: [{matchLabelExpressions: [{key: beta.kubernetes.io/os, values: [l]}]}]"),
            "allowedTopologies[0].matchLabelExpressions[0]: deprecated since v1.14; use \"kubernetes.io/os\" "
            "instead\n");
  EXPECT_EQ(said("apps/v1/StatefulSet", "metadata: {name: s}\nspec: {revisionHistoryLimit: -1}"),
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is "
            "recommended\n");
  EXPECT_EQ(said("v1/Secret", "type: kubernetes.io/tls\ndata: {tls.crt: eA==, tls.key: eA==}"),
            "tls: failed to find any PEM data in certificate input\n");
}

TEST(Warnings, OfCustomKinds) {
  const std::string head =
      "spec: {versions: [{name: v1, schema: {openAPIV3Schema: {type: object, properties: {";
  const std::string tail = "}}}}]}";
  const char* gvk = "apiextensions.k8s.io/v1/CustomResourceDefinition";
  json::value one = parse_yaml(head +
                               "a: {type: string, format: odd}, b: {type: integer, format: int32}, c: {type: "
                               "array, items: {type: string, format: date-time}}" +
                               tail)
                        .value()
                        .at(0);
  json::value two =
      parse_yaml(head + "a: {type: string, format: odd}, b: {type: string, format: even}" + tail)
          .value()
          .at(0);
  EXPECT_EQ(joined(warnings(gvk, one, nullptr)), "unrecognized format \"odd\"\n");
  EXPECT_EQ(joined(warnings(gvk, two, &one)), "unrecognized format \"even\"\n");
  json::value plain = parse_yaml("metadata: {finalizers: [a.example.com, b.example.com/x]}").value().at(0),
              more = parse_yaml("metadata: {finalizers: [a.example.com, c]}").value().at(0);
  EXPECT_EQ(joined(custom_warnings(plain, nullptr)),
            "metadata.finalizers: \"a.example.com\": prefer a domain-qualified finalizer name including a "
            "path (/) to avoid accidental conflicts with other finalizer writers\n");
  EXPECT_EQ(joined(custom_warnings(more, &plain)),
            "metadata.finalizers: \"c\": prefer a domain-qualified finalizer name including a path (/) to "
            "avoid accidental conflicts with other finalizer writers\n");
}

}  // namespace
}  // namespace api
