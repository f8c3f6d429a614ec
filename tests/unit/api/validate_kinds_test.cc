// Kind by kind: what is refused and in which words, what may not change, what is filled in. Text in,
// text out: an object as YAML, the errors one a line.
#include <gtest/gtest.h>

#include "api/defaults.h"
#include "api/validate/validate.h"
#include "api/walk.h"
#include "api/yaml.h"
#include "tests/unit/api/error_lines.h"

namespace api {
namespace {

json::value made(std::string_view gvk, std::string_view yaml) {
  auto documents = parse_yaml(yaml);
  EXPECT_TRUE(documents.ok()) << yaml;
  json::value object = documents.ok() ? documents->at(0) : json::value(json::object());
  json::object& metadata = base::object_at(object.get_object(), "metadata");
  if (!metadata.contains("name")) metadata["name"] = "x";
  if (!metadata.contains("namespace")) metadata["namespace"] = "default";
  auto types = check_types(*find_kind(gvk), object);
  EXPECT_TRUE(types.ok()) << (types.ok() ? "" : types.error().message());
  prune(*find_kind(gvk), object);
  defaults(gvk, object);
  return object;
}
std::string wrong(std::string_view gvk, std::string_view yaml) {
  return lines(validate_create(gvk, made(gvk, yaml), true));
}
std::string changed(std::string_view gvk, std::string_view before, std::string_view after) {
  return lines(validate_update(gvk, made(gvk, after), made(gvk, before), true));
}

const std::string kPod =
    "template: {metadata: {labels: {a: b}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}";
const std::string kAlways =
    "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}";
std::string job(const std::string& more) {
  return "spec: {manualSelector: true, selector: {matchLabels: {a: b}}, " + kPod + ", " + more + "}";
}

TEST(ValidateKinds, Jobs) {
  constexpr auto* kJob = "batch/v1/Job";
  EXPECT_EQ(wrong(kJob, job("completions: 2")), "");
  EXPECT_EQ(wrong(kJob, job("parallelism: -1")),
            "spec.parallelism: Invalid value: -1: must be greater than or equal to 0");
  EXPECT_EQ(wrong(kJob, job("completionMode: Indexed, parallelism: 2")),
            "spec.completions: Required value: when completion mode is Indexed");
  EXPECT_EQ(wrong(kJob, job("completionMode: Odd")),
            "spec.completionMode: Unsupported value: \"Odd\": supported values: \"Indexed\", \"NonIndexed\"");
  EXPECT_EQ(wrong(kJob, job("backoffLimitPerIndex: 1")),
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode");
  EXPECT_EQ(wrong(kJob, "spec: {manualSelector: true, selector: {matchLabels: {a: b}}, " + kAlways + "}"),
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"");
  EXPECT_EQ(wrong(kJob, "spec: {manualSelector: true, selector: {matchLabels: {a: other}}, " + kPod + "}"),
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template "
            "`labels`");
  EXPECT_EQ(
      wrong(kJob, job("managedBy: me")),
      "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")");
  EXPECT_EQ(wrong(kJob, job("podFailurePolicy: {rules: [{action: Ignore}]}")),
            "spec.podFailurePolicy.rules[0]: Invalid value: \"<truncated>\": specifying one of OnExitCodes "
            "and OnPodConditions is required");
  EXPECT_EQ(changed(kJob, job("completions: 2"), job("completions: 3")),
            "spec.completions: Invalid value: 3: field is immutable");
  EXPECT_EQ(changed(kJob, job("completions: 2"), job("completions: 2, suspend: true")), "");
  EXPECT_EQ(changed(kJob, job("completionMode: Indexed, completions: 2, parallelism: 2"),
                    job("completionMode: Indexed, completions: 3, parallelism: 3")),
            "");
}

TEST(ValidateKinds, CronJobs) {
  auto cron = [](const std::string& schedule, const std::string& more = "") {
    return wrong("batch/v1/CronJob",
                 "spec: {schedule: '" + schedule + "', jobTemplate: {spec: {" + kPod + "}}" + more + "}");
  };
  for (const char* right : {"*/5 * * * *", "0 0 1-7,15 jan-mar Mon", "@hourly", "@every 1h30m", "0 3 ? * 0"})
    EXPECT_EQ(cron(right), "") << right;
  EXPECT_EQ(cron("x"), "spec.schedule: Invalid value: \"x\": expected exactly 5 fields, found 1: [x]");
  EXPECT_EQ(cron("61 * * * *"),
            "spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61");
  EXPECT_EQ(
      cron("5-1 * * * *"),
      "spec.schedule: Invalid value: \"5-1 * * * *\": beginning of range (5) beyond end of range (1): 5-1");
  EXPECT_EQ(cron("*/0 * * * *"),
            "spec.schedule: Invalid value: \"*/0 * * * *\": step of range should be a positive number: */0");
  EXPECT_EQ(cron("@never"), "spec.schedule: Invalid value: \"@never\": unrecognized descriptor: @never");
  EXPECT_EQ(cron("TZ=UTC 0 0 * * *"),
            "spec.schedule: Invalid value: \"TZ=UTC 0 0 * * *\": cannot use TZ or CRON_TZ in schedule, use "
            "timeZone field instead");
  EXPECT_EQ(cron("@daily", ", concurrencyPolicy: Odd"),
            "spec.concurrencyPolicy: Unsupported value: \"Odd\": supported values: \"Allow\", \"Forbid\", "
            "\"Replace\"");
  EXPECT_EQ(cron("@daily", ", timeZone: Local"),
            "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in "
            "https://www.iana.org/time-zones");
  std::string long_name(53, 'n');
  EXPECT_EQ(
      wrong("batch/v1/CronJob", "metadata: {name: " + long_name +
                                    "}\nspec: {schedule: '@daily', jobTemplate: {spec: {" + kPod + "}}}"),
      "metadata.name: Invalid value: \"" + long_name + "\": must be no more than 52 characters");
}

TEST(ValidateKinds, SetsOfPods) {
  std::string set = "spec: {selector: {matchLabels: {a: b}}, " + kAlways;
  EXPECT_EQ(wrong("apps/v1/StatefulSet", set + "}"), "");
  EXPECT_EQ(
      wrong("apps/v1/StatefulSet",
            "spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: "
            "{containers: [{name: c, image: i, volumeMounts: "
            "[{name: data, mountPath: /d}]}]}}, volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]}"),
      "");
  EXPECT_EQ(wrong("apps/v1/StatefulSet", set + ", podManagementPolicy: Odd}"),
            "spec.podManagementPolicy: Invalid value: \"Odd\": must be 'OrderedReady' or 'Parallel'");
  EXPECT_EQ(wrong("apps/v1/StatefulSet",
                  set + ", updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}}}"),
            "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for "
            "updateStrategy 'RollingUpdate'");
  EXPECT_EQ(wrong("apps/v1/StatefulSet", "metadata: {name: a.b}\n" + set + "}").substr(0, 37),
            "metadata.name: Invalid value: \"a.b\": ");
  EXPECT_EQ(
      changed("apps/v1/StatefulSet", set + ", serviceName: a}", set + ", serviceName: b}"),
      "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', "
      "'template', 'updateStrategy', "
      "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
  EXPECT_EQ(changed("apps/v1/StatefulSet", set + ", replicas: 1}", set + ", replicas: 3}"), "");
  EXPECT_EQ(wrong("apps/v1/DaemonSet", set + "}"), "");
  EXPECT_EQ(wrong("apps/v1/DaemonSet", "spec: {selector: {}, " + kAlways + "}"),
            "spec.selector: Invalid value: {}: empty selector is invalid for daemonset");
  EXPECT_EQ(
      wrong("apps/v1/DaemonSet", set + ", updateStrategy: {rollingUpdate: {maxUnavailable: 0}}}"),
      "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0");
  EXPECT_EQ(wrong("apps/v1/DaemonSet", "spec: {selector: {matchLabels: {a: b}}, " + kPod + "}"),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"");
  EXPECT_EQ(
      changed("apps/v1/ControllerRevision", "{revision: 1, data: {a: 1}}", "{revision: 2, data: {a: 2}}"),
      "data: Invalid value: {\"a\":2}: field is immutable");
}

TEST(ValidateKinds, Networking) {
  auto ingress = [](const std::string& path) {
    return wrong("networking.k8s.io/v1/Ingress", "spec: {rules: [{http: {paths: [{" + path + "}]}}]}");
  };
  const std::string kBackend = "backend: {service: {name: s, port: {number: 80}}}";
  EXPECT_EQ(ingress("path: /, pathType: Prefix, " + kBackend), "");
  EXPECT_EQ(ingress("path: x, pathType: Exact, " + kBackend),
            "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path");
  EXPECT_EQ(ingress("path: /a//b, pathType: Exact, " + kBackend),
            "spec.rules[0].http.paths[0].path: Invalid value: \"/a//b\": must not contain '//'");
  EXPECT_EQ(ingress("path: /, pathType: Odd, " + kBackend),
            "spec.rules[0].http.paths[0].pathType: Unsupported value: \"Odd\": supported values: \"Exact\", "
            "\"ImplementationSpecific\", \"Prefix\"");
  EXPECT_EQ(ingress("path: /, pathType: Prefix, backend: {service: {name: s}}"),
            "spec.rules[0].http.paths[0].backend: Required value: port name or number is required");
  EXPECT_EQ(wrong("networking.k8s.io/v1/Ingress", "spec: {}"),
            "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified");
  EXPECT_EQ(wrong("networking.k8s.io/v1/Ingress", "spec: {rules: [{host: 192.0.2.1}]}"),
            "spec.rules[0].host: Invalid value: \"192.0.2.1\": must be a DNS name, not an IP address");
  EXPECT_EQ(wrong("networking.k8s.io/v1/NetworkPolicy",
                  "spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]}"),
            "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict "
            "subset of `cidr`");
  EXPECT_EQ(wrong("networking.k8s.io/v1/NetworkPolicy",
                  "spec: {egress: [{ports: [{port: 9, endPort: 8}], to: [{}]}]}"),
            "spec.egress[0].ports[0].endPort: Invalid value: 8: must be greater than or equal to `port`\n"
            "spec.egress[0].to[0]: Required value: must specify a peer");
  EXPECT_EQ(
      wrong("networking.k8s.io/v1/NetworkPolicy", "spec: {ingress: [{from: [{ipBlock: {cidr: nonsense}}]}]}"),
      "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"nonsense\": must be a valid CIDR value, (e.g. "
      "10.9.8.0/24 or 2001:db8::/64)");
  EXPECT_EQ(
      changed("networking.k8s.io/v1/IngressClass", "spec: {controller: a.b/c}", "spec: {controller: a.b/d}"),
      "spec.controller: Invalid value: \"a.b/d\": field is immutable");
  EXPECT_EQ(wrong("networking.k8s.io/v1/ServiceCIDR", "spec: {cidrs: [10.0.0.0/16, 10.1.0.0/16]}"),
            "spec.cidrs: Invalid value: [\"10.0.0.0/16\",\"10.1.0.0/16\"]: may specify no more than one IP "
            "for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
}

TEST(ValidateKinds, Volumes) {
  auto claim = [](const std::string& more) {
    return "spec: {accessModes: [ReadWriteOnce], storageClassName: s, resources: {requests: {storage: " +
           more + "}}}";
  };
  EXPECT_EQ(wrong("v1/PersistentVolumeClaim", claim("1Gi")), "");
  EXPECT_EQ(wrong("v1/PersistentVolumeClaim", claim("\"0\"")),
            "spec.resources[storage]: Invalid value: \"0\": must be greater than zero");
  EXPECT_EQ(wrong("v1/PersistentVolumeClaim", "spec: {resources: {requests: {storage: 1Gi}}}"),
            "spec.accessModes: Required value: at least 1 access mode is required");
  EXPECT_EQ(
      wrong("v1/PersistentVolumeClaim", "spec: {accessModes: [Odd], resources: {requests: {storage: 1Gi}}}"),
      "spec.accessModes: Unsupported value: \"Odd\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", "
      "\"ReadWriteOnce\", \"ReadWriteOncePod\"");
  EXPECT_EQ(changed("v1/PersistentVolumeClaim", claim("1Gi"), claim("2Gi")),
            "spec: Forbidden: spec is immutable after creation except resources.requests and "
            "volumeAttributesClassName for bound claims");
  EXPECT_EQ(changed("v1/PersistentVolumeClaim", claim("1Gi") + "\nstatus: {phase: Bound}",
                    claim("2Gi") + "\nstatus: {phase: Bound}"),
            "");
  const std::string holds = "\nstatus: {phase: Bound, capacity: {storage: 2Gi}}";
  EXPECT_EQ(changed("v1/PersistentVolumeClaim", claim("4Gi") + holds, claim("3Gi") + holds), "");
  EXPECT_EQ(changed("v1/PersistentVolumeClaim", claim("4Gi") + holds, claim("2Gi") + holds),
            "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity");
  EXPECT_EQ(
      wrong("v1/PersistentVolume",
            "metadata: {namespace: default}\nspec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]}"),
      "spec: Required value: must specify a volume type");
  EXPECT_EQ(wrong("v1/PersistentVolume",
                  "spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /a}, nfs: "
                  "{server: s, path: /}}"),
            "spec.nfs: Forbidden: may not specify more than 1 volume type");
  EXPECT_EQ(changed("storage.k8s.io/v1/StorageClass", "{provisioner: a}",
                    "{provisioner: b, volumeBindingMode: WaitForFirstConsumer}"),
            "provisioner: Forbidden: updates to provisioner are forbidden.\n"
            "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable");
  EXPECT_EQ(changed("storage.k8s.io/v1/CSIDriver", "spec: {}", "spec: {attachRequired: false}"),
            "spec.attachRequired: Invalid value: false: field is immutable");
  EXPECT_EQ(
      wrong("storage.k8s.io/v1/VolumeAttachment", "spec: {attacher: a, nodeName: m, source: {}}"),
      "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName");
}

TEST(ValidateKinds, SourcesOfVolumes) {
  auto volume = [](const std::string& source) {
    return wrong("v1/Pod", "spec: {containers: [{name: c, image: i}], volumes: [{name: v, " + source + "}]}");
  };
  auto persistent = [](const std::string& source) {
    return wrong("v1/PersistentVolume",
                 "spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], " + source + "}");
  };
  EXPECT_EQ(
      volume(R"(hostPath: {path: "/a\0/b"})"),
      "spec.volumes[0].hostPath.path: Invalid value: \"/a\\u0000/b\": must not contain the character NUL");
  EXPECT_EQ(volume("nfs: {server: s, path: a}"),
            "spec.volumes[0].nfs.path: Invalid value: \"a\": must be an absolute path");
  EXPECT_EQ(volume("configMap: {name: m}, secret: {secretName: s}"),
            "spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type");
  EXPECT_EQ(volume("iscsi: {targetPortal: p, iqn: 'iqn.2001-04.com.example:storage.x', lun: 0}"), "");
  EXPECT_EQ(volume("iscsi: {targetPortal: p, iqn: 'iqn.x', lun: 256, chapAuthSession: true}"),
            "spec.volumes[0].iscsi.iqn: Invalid value: \"iqn.x\": must be valid format\n"
            "spec.volumes[0].iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive\n"
            "spec.volumes[0].iscsi.secretRef: Required value");
  EXPECT_EQ(volume("fc: {targetWWNs: [a]}"),
            "spec.volumes[0].fc.lun: Required value: lun is required if targetWWNs is specified");
  EXPECT_EQ(
      volume("azureDisk: {diskName: d, diskURI: x, kind: Managed}"),
      "spec.volumes[0].azureDisk.diskURI: Unsupported value: \"x\": supported values: "
      "\"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}\"");
  EXPECT_EQ(volume("flexVolume: {driver: d, options: {Kubernetes.io/x: z}}"),
            "spec.volumes[0].flexVolume.options[Kubernetes.io/x]: Invalid value: \"Kubernetes.io/x\": "
            "kubernetes.io and k8s.io namespaces are reserved");
  EXPECT_EQ(volume("csi: {driver: d, nodePublishSecretRef: {}}"),
            "spec.volumes[0].csi.nodePublishSecretRef.name: Required value");
  EXPECT_EQ(volume("image: {reference: r, pullPolicy: Odd}"),
            "spec.volumes[0].image.pullPolicy: Unsupported value: \"Odd\": supported values: \"Always\", "
            "\"IfNotPresent\", \"Never\"");
  EXPECT_EQ(volume("ephemeral: {volumeClaimTemplate: {metadata: {name: q, labels: {a: b}}, spec: "
                   "{accessModes: [ReadWriteOnce]}}}"),
            "spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.Name: Forbidden: cannot be set\n"
            "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value");
  EXPECT_EQ(volume("downwardAPI: {items: [{path: ..x, fieldRef: {fieldPath: spec.nodeName}}, {path: l, "
                   "fieldRef: {fieldPath: \"metadata.labels['a']\"}}]}"),
            "spec.volumes[0].downwardAPI.items[0].path: Invalid value: \"..x\": must not start with '..'\n"
            "spec.volumes[0].downwardAPI.items[0].fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": "
            "supported values: "
            "\"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", "
            "\"metadata.uid\"");
  EXPECT_EQ(
      volume("projected: {sources: [{secret: {name: s, items: [{key: k, path: p}]}}, {configMap: {name: m, "
             "items: [{key: k, path: p}]}},"
             " {serviceAccountToken: {path: t, expirationSeconds: 60}}, {clusterTrustBundle: {path: b}}]}"),
      "spec.volumes[0].projected: Invalid value: \"m\": conflicting duplicate paths\n"
      "spec.volumes[0].projected.sources[2].serviceAccountToken.expirationSeconds: Invalid value: 60: may "
      "not specify a duration less than 10 minutes\n"
      "spec.volumes[0].projected.sources[3].clusterTrustBundle: Required value: either name or signerName "
      "must be specified");
  EXPECT_EQ(persistent("csi: {driver: d, volumeHandle: h, nodePublishSecretRef: {name: q}}"),
            "spec.csi.nodePublishSecretRef.namespace: Required value");
  EXPECT_EQ(persistent("glusterfs: {endpoints: e, path: p, endpointsNamespace: ''}"),
            "spec.glusterfs.endpointsNamespace: Invalid value: \"\": if the endpointnamespace is set, it "
            "must be a valid namespace name");
  EXPECT_EQ(persistent("hostPath: {path: /}, volumeAttributesClassName: ''"),
            "spec.volumeAttributesClassName: Required value: an empty string is disallowed\n"
            "spec.csi: Required value: has to be specified when using volumeAttributesClassName");
  EXPECT_EQ(persistent("local: {path: /a}, nodeAffinity: {}"),
            "spec.nodeAffinity.required: Required value: must specify required node constraints\n"
            "spec.nodeAffinity: Required value: Local volume requires node affinity");
  auto claim = [](const std::string& more) {
    return wrong("v1/PersistentVolumeClaim",
                 "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, " + more + "}");
  };
  EXPECT_EQ(claim("dataSource: {kind: PersistentVolumeClaim, name: a}, dataSourceRef: {kind: "
                  "PersistentVolumeClaim, name: b}"),
            "spec: Invalid value: \"spec.dataSource\": must match dataSourceRef");
  EXPECT_EQ(claim("dataSourceRef: {kind: Odd, name: b}"),
            "spec.dataSourceRef: Invalid value: \"Odd\": must be 'PersistentVolumeClaim' when referencing "
            "the default apiGroup");
  EXPECT_EQ(wrong("storage.k8s.io/v1/VolumeAttachment",
                  "spec: {attacher: a, nodeName: m, source: {inlineVolumeSpec: {accessModes: "
                  "[ReadWriteOnce], hostPath: {path: /}}}}"),
            "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline "
            "volumes");
}

TEST(ValidateKinds, Devices) {
  auto claim = [](const std::string& more) {
    return wrong("resource.k8s.io/v1/ResourceClaim", "spec: {devices: {" + more + "}}");
  };
  const std::string one = "requests: [{name: gpu, exactly: {deviceClassName: c}}]";
  EXPECT_EQ(claim(one), "");
  EXPECT_EQ(claim("requests: [{name: a, exactly: {deviceClassName: c, allocationMode: All, count: 2}}, "
                  "{name: a, exactly: {deviceClassName: c}}]"),
            "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when "
            "allocationMode is 'All'\n"
            "spec.devices.requests[1]: Duplicate value: \"a\"");
  EXPECT_EQ(claim(one + ", constraints: [{requests: [cpu], matchAttribute: model}]"),
            "spec.devices.constraints[0].requests[0]: Invalid value: \"cpu\": must be the name of a request "
            "in the claim or the name of a request and a subrequest separated by '/'\n"
            "spec.devices.constraints[0].matchAttribute: Invalid value: \"model\": a fully qualified name "
            "must be a domain and a name separated by a slash");
  EXPECT_EQ(claim("requests: [{name: any, firstAvailable: [{name: big, deviceClassName: c}]}], constraints: "
                  "[{requests: [any/big], matchAttribute: d.io/model}]"),
            "");
  EXPECT_EQ(claim(one + ", config: [{requests: [gpu], opaque: {driver: d.io, parameters: [1]}}]"),
            "spec.devices.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid "
            "JSON object");
  EXPECT_EQ(claim("requests: [{name: a, exactly: {deviceClassName: c, tolerations: [{operator: Exists, "
                  "value: v, effect: Odd}]}}]"),
            "spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: \"v\": must be empty for "
            "operator `Exists`\n"
            "spec.devices.requests[0].exactly.tolerations[0].effect: Unsupported value: \"Odd\": supported "
            "values: \"NoExecute\", \"NoSchedule\", \"None\"");
  EXPECT_EQ(wrong("resource.k8s.io/v1/DeviceClass", "spec: {selectors: [{}], extendedResourceName: gpu}"),
            "spec.selectors[0].cel: Required value\nspec.extendedResourceName: Invalid value: \"gpu\": must "
            "be a valid extended resource name");
  auto slice = [](const std::string& more) {
    return wrong("resource.k8s.io/v1/ResourceSlice",
                 "spec: {driver: d.io, pool: {name: p, generation: 1, resourceSliceCount: 1}, " + more + "}");
  };
  EXPECT_EQ(slice("nodeName: m, devices: [{name: d, attributes: {model: {string: x}, version: {version: "
                  "1.0.0}}, capacity: {memory: {value: 1Gi}}}]"),
            "");
  EXPECT_EQ(slice("devices: []"),
            "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, "
            "`perDeviceNodeSelection` is required");
  EXPECT_EQ(slice("nodeName: m, allNodes: true"),
            "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, "
            "`allNodes`, `perDeviceNodeSelection` is required, but "
            "multiple fields are set");
  EXPECT_EQ(
      slice("allNodes: true, devices: [{name: d, attributes: {a/b/c: {int: 1}, v: {version: one}, u: {}}}]"),
      "spec.devices[0].attributes: Invalid value: \"a/b/c\": must not contain more than one slash\n"
      "spec.devices[0].attributes[v].version: Invalid value: \"one\": must be a string compatible with "
      "semver.org spec 2.0.0\n"
      "spec.devices[0].attributes[u]: Invalid value: \"\": exactly one value must be specified");
  EXPECT_EQ(slice("allNodes: true, devices: [{name: d, allowMultipleAllocations: true, capacity: {m: {value: "
                  "4Gi, requestPolicy: {default: 3Gi, validRange: {min: 1Gi, step: 2Gi, max: 4Gi}}}}}]"),
            "spec.devices[0].capacity[m].requestPolicy.validRange.step: Invalid value: \"4Gi\": value is not "
            "a multiple of a given step (2Gi) from (1Gi)");
  auto status = [](const std::string& text) {
    const std::string spec = "spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: c}}]}}\n";
    return lines(validate_status_update("resource.k8s.io/v1/ResourceClaim",
                                        made("resource.k8s.io/v1/ResourceClaim", spec + "status: " + text),
                                        made("resource.k8s.io/v1/ResourceClaim", spec)));
  };
  EXPECT_EQ(status("{reservedFor: [{resource: pods, name: p, uid: u}]}"),
            "status.reservedFor: Forbidden: may not be specified when `allocated` is not set");
  EXPECT_EQ(status("{allocation: {devices: {results: [{request: gpu, driver: d.io, pool: p, device: d}]}}, "
                   "devices: [{driver: d.io, pool: p, device: d}]}"),
            "");
  EXPECT_EQ(status("{allocation: {devices: {results: [{request: cpu, driver: d.io, pool: p, device: d}]}}, "
                   "devices: [{driver: d.io, pool: p, device: e}]}"),
            "status.devices[0]: Invalid value: \"d.io/p/e\": must be an allocated device in the claim\n"
            "status.allocation.devices.results[0].request: Invalid value: \"cpu\": must be the name of a "
            "request in the claim or the name of a request and a subrequest "
            "separated by '/'");
}

TEST(ValidateKinds, PolicyAndScaling) {
  EXPECT_EQ(wrong("policy/v1/PodDisruptionBudget", "spec: {minAvailable: 1, maxUnavailable: 1}"),
            "spec: Invalid value: {\"minAvailable\":1,\"maxUnavailable\":1}: minAvailable and maxUnavailable "
            "cannot be both set");
  EXPECT_EQ(wrong("policy/v1/PodDisruptionBudget", "spec: {maxUnavailable: 101%}"),
            "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%");
  auto scaler = [](const std::string& more) {
    return wrong("autoscaling/v2/HorizontalPodAutoscaler",
                 "spec: {scaleTargetRef: {kind: Deployment, name: d}, " + more + "}");
  };
  EXPECT_EQ(scaler("maxReplicas: 3"), "");
  EXPECT_EQ(scaler("maxReplicas: 1, minReplicas: 2"),
            "spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`");
  EXPECT_EQ(scaler("maxReplicas: 1, metrics: [{type: Pods}]"),
            "spec.metrics[0].pods: Required value: must populate information for the given metric source");
  EXPECT_EQ(scaler("maxReplicas: 1, metrics: [{type: Resource, resource: {name: cpu, target: {type: "
                   "Utilization, averageUtilization: 0}}}]"),
            "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0");
  EXPECT_EQ(wrong("v1/ResourceQuota", "spec: {hard: {nonsense: 1}}"),
            "spec.hard[nonsense]: Invalid value: \"nonsense\": must be a standard resource for quota");
  EXPECT_EQ(wrong("v1/LimitRange", "spec: {limits: [{type: Pod, min: {cpu: 2}, max: {cpu: 1}}]}"),
            "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1");
  EXPECT_EQ(wrong("scheduling.k8s.io/v1/PriorityClass", "{value: 1000000001}"),
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000");
  EXPECT_EQ(changed("scheduling.k8s.io/v1/PriorityClass", "{value: 1}", "{value: 2}"),
            "value: Forbidden: may not be changed in an update.");
  EXPECT_EQ(changed("node.k8s.io/v1/RuntimeClass", "{handler: a}", "{handler: b}"),
            "handler: Invalid value: \"b\": field is immutable");
}

TEST(ValidateKinds, TheServerItself) {
  EXPECT_EQ(wrong("flowcontrol.apiserver.k8s.io/v1/FlowSchema",
                  "spec: {priorityLevelConfiguration: {name: a}, matchingPrecedence: 20000}"),
            "spec.matchingPrecedence: Invalid value: 20000: must not be greater than 10000");
  EXPECT_EQ(wrong("flowcontrol.apiserver.k8s.io/v1/PriorityLevelConfiguration", "spec: {type: Limited}"),
            "spec.limited: Required value: must not be empty when type is Limited");
  EXPECT_EQ(
      wrong("resource.k8s.io/v1/ResourceClaim", "spec: {devices: {requests: [{name: a}]}}"),
      "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required");
}

std::string filled(std::string_view gvk, std::string_view yaml, std::initializer_list<const char*> path) {
  json::value object = made(gvk, yaml);
  const json::value* at = &object;
  for (const char* part : path) at = at ? base::find(*at, part) : nullptr;
  return at ? base::to_json(*at) : "";
}

TEST(DefaultsOfKinds, AreFilledIn) {
  EXPECT_EQ(filled("apps/v1/DaemonSet", "spec: {template: {}}", {"spec", "updateStrategy"}),
            R"({"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":1,"maxSurge":0}})");
  EXPECT_EQ(filled("apps/v1/StatefulSet", "spec: {}", {"spec", "persistentVolumeClaimRetentionPolicy"}),
            R"({"whenDeleted":"Retain","whenScaled":"Retain"})");
  EXPECT_EQ(filled("batch/v1/Job", "spec: {}", {"spec", "backoffLimit"}), "6");
  EXPECT_EQ(filled("batch/v1/Job", "spec: {backoffLimitPerIndex: 1}", {"spec", "backoffLimit"}),
            "2147483647");
  EXPECT_EQ(filled("batch/v1/Job", "spec: {parallelism: 2}", {"spec", "completions"}), "");
  EXPECT_EQ(filled("batch/v1/CronJob", "spec: {}", {"spec", "concurrencyPolicy"}), "\"Allow\"");
  EXPECT_EQ(filled("networking.k8s.io/v1/NetworkPolicy", "spec: {egress: [{}]}", {"spec", "policyTypes"}),
            R"(["Ingress","Egress"])");
  EXPECT_EQ(
      filled("autoscaling/v2/HorizontalPodAutoscaler", "spec: {}", {"spec", "metrics"}),
      R"([{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}])");
  EXPECT_EQ(
      filled("v1/LimitRange", "spec: {limits: [{type: Container, max: {cpu: '1'}}]}", {"spec", "limits"}),
      R"([{"type":"Container","max":{"cpu":"1"},"default":{"cpu":"1"},"defaultRequest":{"cpu":"1"}}])");
  EXPECT_EQ(filled("storage.k8s.io/v1/StorageClass", "{provisioner: a}", {"reclaimPolicy"}), "\"Delete\"");
  EXPECT_EQ(filled("storage.k8s.io/v1/CSIDriver", "spec: {}", {"spec", "volumeLifecycleModes"}),
            "[\"Persistent\"]");
}

TEST(PodParts, EphemeralContainersAreOnlyAdded) {
  auto pod = [](const std::string& more) {
    return made("v1/Pod", "spec: {containers: [{name: c, image: i}]" + more + "}");
  };
  auto part = [&](const char* which, const json::value& after, const json::value& before) {
    return lines(validate_subresource_update("v1/Pod", which, after, before, true));
  };
  json::value plain = pod(""),
              one = pod(", ephemeralContainers: [{name: e, image: i, targetContainerName: c}]");
  EXPECT_EQ(part("ephemeralcontainers", one, plain), "");
  EXPECT_EQ(part("ephemeralcontainers", plain, one),
            "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be removed\n");
  EXPECT_EQ(part("ephemeralcontainers", pod(", ephemeralContainers: [{name: c, image: i}]"), plain),
            "spec.ephemeralContainers[0].name: Duplicate value: \"c\"");
  EXPECT_EQ(part("ephemeralcontainers",
                 pod(", ephemeralContainers: [{name: e, image: i, targetContainerName: z}]"), plain),
            "spec.ephemeralContainers[0].targetContainerName: Not found: \"z\"");
}

TEST(PodParts, AResizeKeepsTheQosClass) {
  auto pod = [](const std::string& resources) {
    return made("v1/Pod", "spec: {containers: [{name: c, image: i, resources: " + resources +
                              "}]}\nstatus: {qosClass: Burstable, phase: Running}");
  };
  auto resize = [&](const std::string& after) {
    return lines(
        validate_subresource_update("v1/Pod", "resize", pod(after), pod("{requests: {cpu: 100m}}"), true));
  };
  EXPECT_EQ(resize("{requests: {cpu: 200m}}"), "");
  EXPECT_EQ(resize("{requests: {cpu: 100m, ephemeral-storage: 1Gi}}"),
            "spec.containers[0].resources.requests: Forbidden: only cpu and memory resources are mutable");
  EXPECT_EQ(resize("{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}}"),
            "metadata: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing");
}

}  // namespace
}  // namespace api
