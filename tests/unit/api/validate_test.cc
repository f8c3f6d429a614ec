#include "api/validate/validate.h"
#include "api/defaults.h"

#include <gtest/gtest.h>

#include "api/walk.h"
#include "api/yaml.h"
#include "tests/unit/api/error_lines.h"

namespace api {
namespace {

json::value object_of(const char* gvk, std::string_view yaml) {
  auto parsed = parse_yaml(yaml);
  EXPECT_TRUE(parsed.ok() && parsed->size() == 1) << yaml << (parsed.ok() ? "" : parsed.error().message());
  json::value object = parsed.ok() && !parsed->empty() ? parsed->at(0) : json::value(json::object());
  auto types = check_types(*find_kind(gvk), object);
  EXPECT_TRUE(types.ok()) << (types.ok() ? "" : types.error().message());
  prune(*find_kind(gvk), object);
  normalize(gvk, object);
  defaults(gvk, object);
  return object;
}
std::string create(const char* gvk, std::string_view yaml, bool namespaced = true) {
  return lines(validate_create(gvk, object_of(gvk, yaml), namespaced));
}
// A Pod with one good container, and `rest` of the spec.
std::string pod(const std::string& rest) {
  return create("v1/Pod", "metadata: {name: p, namespace: d}\nspec: {containers: [{name: a, image: i}], " +
                              rest + "}\n");
}
std::string one(const std::string& container) {
  return create("v1/Pod", "metadata: {name: p, namespace: d}\nspec: {containers: [" + container +
                              "], volumes: [{name: v}]}\n");
}
constexpr char kLabel[] =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

TEST(Validate, Metadata) {
  EXPECT_EQ(create("v1/ConfigMap", "metadata: {name: a.b, namespace: d}"), "");
  EXPECT_EQ(create("v1/ConfigMap", "metadata: {namespace: d}"),
            "metadata.name: Required value: name or generateName is required");
  EXPECT_EQ(create("v1/ConfigMap", "metadata: {generateName: a-, namespace: d}"), "");
  EXPECT_EQ(create("v1/ConfigMap", "metadata: {name: a}"), "metadata.namespace: Required value");
  EXPECT_EQ(create("v1/ConfigMap", "metadata: {name: A_b, namespace: d}"),
            "metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of lower "
            "case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
            "(e.g. 'example.com', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
  EXPECT_EQ(create("v1/Node", "metadata: {name: a, namespace: d}", false),
            "metadata.namespace: Forbidden: not allowed on this type");
  EXPECT_EQ(
      create("v1/Service", "metadata: {name: 1a, namespace: d}\nspec: {ports: [{port: 1}]}").substr(0, 57),
      "metadata.name: Invalid value: \"1a\": a DNS-1035 label must");
  EXPECT_EQ(create("v1/ConfigMap", "metadata: {name: a, namespace: d, labels: {'-x': '_'}}").substr(0, 60),
            "metadata.labels: Invalid value: \"-x\": name part must consist");
  EXPECT_EQ(create("v1/ConfigMap",
                   "metadata: {name: a, namespace: d, ownerReferences: [{apiVersion: v1, kind: Pod, name: p, "
                   "uid: u, controller: true}, {apiVersion: v1, kind: Pod, name: q, controller: true}]}")
                .substr(0, 60),
            "metadata.ownerReferences[1].uid: Required value\nmetadata.own");
}

TEST(Validate, PodContainers) {
  EXPECT_EQ(one("{name: a, image: i}"), "");
  EXPECT_EQ(create("v1/Pod", "metadata: {name: p, namespace: d}\nspec: {}"),
            "spec.containers: Required value");
  EXPECT_EQ(create("v1/Pod", "metadata: {name: p, namespace: d}"), "spec.containers: Required value");
  EXPECT_EQ(one("{name: a}"), "spec.containers[0].image: Required value");
  EXPECT_EQ(one("{image: i}"), "spec.containers[0].name: Required value");
  EXPECT_EQ(one("{name: A, image: i}"),
            std::string("spec.containers[0].name: Invalid value: \"A\": ") + kLabel);
  EXPECT_EQ(one("{name: a, image: i}, {name: a, image: i}"),
            "spec.containers[1].name: Duplicate value: \"a\"");
  EXPECT_EQ(one("{name: a, image: i, imagePullPolicy: Sometimes}"),
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: "
            "\"Always\", \"IfNotPresent\", \"Never\"");
  EXPECT_EQ(
      one("{name: a, image: i, ports: [{containerPort: 0}, {containerPort: 70000, name: x_y}]}"),
      "spec.containers[0].ports[0].containerPort: Invalid value: 0: must be between 1 and 65535, inclusive\n"
      "spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, "
      "inclusive\n"
      "spec.containers[0].ports[1].name: Invalid value: \"x_y\": must contain only alpha-numeric characters "
      "(a-z, 0-9), and hyphens (-)");
  EXPECT_EQ(
      one("{name: a, image: i, ports: [{containerPort: 1, hostPort: 9}, {containerPort: 2, hostPort: 9}]}"),
      "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//9\"");
  EXPECT_EQ(one("{name: a, image: i, volumeMounts: [{name: v, mountPath: /a}, {name: w, mountPath: /b}, "
                "{name: v, mountPath: /a}]}"),
            "spec.containers[0].volumeMounts[1].name: Not found: "
            "\"w\"\nspec.containers[0].volumeMounts[2].mountPath: Invalid value: \"/a\": must be unique");
  EXPECT_EQ(one("{name: a, image: i, volumeMounts: [{name: v, mountPath: /a, subPath: ../x}]}"),
            "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"../x\": must not contain '..'");
  EXPECT_EQ(one("{name: a, image: i, resources: {limits: {cpu: 1}, requests: {cpu: 2}}}"),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu "
            "limit of 1");
  EXPECT_EQ(one("{name: a, image: i, resources: {limits: {memory: -1, gold: 1}}}"),
            "spec.containers[0].resources.limits[gold]: Invalid value: \"gold\": must be a standard resource "
            "for containers\nspec.containers[0].resources.limits[memory]: Invalid value: \"-1\": must be "
            "greater than or equal to 0\n"
            "spec.containers[0].resources.requests[gold]: Invalid value: \"gold\": must be a standard "
            "resource for containers\nspec.containers[0].resources.requests[memory]: Invalid value: \"-1\": "
            "must be greater than or equal to 0");
  EXPECT_EQ(one("{name: a, image: i, env: [{name: X, value: 'y', valueFrom: {fieldRef: {fieldPath: "
                "spec.foo}}}, {name: 'a=b'}]}"),
            "spec.containers[0].env[1].name: Invalid value: \"a=b\": a valid environment variable name must "
            "consist only of printable ASCII characters other than '='\n"
            "spec.containers[0].env[0].valueFrom: Invalid value: "
            "{\"fieldRef\":{\"apiVersion\":\"v1\",\"fieldPath\":\"spec.foo\"}}: may not be specified when "
            "`value` is not empty\n"
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.foo\": "
            "supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", "
            "\"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", "
            "\"status.podIP\", \"status.podIPs\"");
}
TEST(Validate, PodProbesAndHooks) {
  EXPECT_EQ(one("{name: a, image: i, livenessProbe: {}}"),
            "spec.containers[0].livenessProbe: Required value: must specify a handler type");
  EXPECT_EQ(
      one("{name: a, image: i, livenessProbe: {successThreshold: 2, exec: {command: [x]}, tcpSocket: {port: "
          "99999}}}"),
      "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type\n"
      "spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: 99999: must be between 1 and 65535, "
      "inclusive\n"
      "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1");
  EXPECT_EQ(one("{name: a, image: i, readinessProbe: {exec: {}, periodSeconds: -1}}"),
            "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or "
            "equal to 0\nspec.containers[0].readinessProbe.exec.command: Required value");
  EXPECT_EQ(one("{name: a, image: i, lifecycle: {preStop: {}}}"),
            "spec.containers[0].lifecycle.preStop: Required value: must specify a handler type");
  EXPECT_EQ(pod("initContainers: [{name: i, image: i, livenessProbe: {exec: {command: [x]}}}]"),
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without "
            "restartPolicy=Always");
}
TEST(Validate, APodBehindGatesHasNoNode) {
  EXPECT_EQ(pod("schedulingGates: [{name: a.b/c}], nodeName: node-1"),
            "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared");
  EXPECT_EQ(pod("schedulingGates: [{name: a.b/c}]"), "");
  EXPECT_EQ(pod("schedulingGates: [{name: a}, {name: b}, {name: a}]"),
            "spec.schedulingGates[2]: Duplicate value: \"a\"");
}
TEST(Validate, PodSpec) {
  EXPECT_EQ(pod("volumes: [{name: v, emptyDir: {}, hostPath: {path: /x/../y}}, {name: v}]"),
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume "
            "type\nspec.volumes[1].name: Duplicate value: \"v\"");
  EXPECT_EQ(pod("volumes: [{name: v, configMap: {items: [{key: k, path: /abs, mode: 512}]}}]"),
            "spec.volumes[0].configMap.name: Required value\nspec.volumes[0].configMap.items[0].path: "
            "Invalid value: \"/abs\": must be a relative path\nspec.volumes[0].configMap.items[0].mode: "
            "Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive");
  EXPECT_EQ(pod("restartPolicy: Maybe"),
            "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"Never\", "
            "\"OnFailure\"");
  EXPECT_EQ(pod("dnsPolicy: None"),
            "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when "
            "`dnsPolicy` is None");
  EXPECT_EQ(pod("terminationGracePeriodSeconds: -1"), "");  // becomes 1
  EXPECT_EQ(pod("activeDeadlineSeconds: 0"),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive");
  EXPECT_EQ(
      pod("tolerations: [{value: x}, {key: a, operator: Exists, effect: NoSchedule, tolerationSeconds: 3}]"),
      "spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which "
      "means \"match all values and all keys\"\n"
      "spec.tolerations[1].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when "
      "`tolerationSeconds` is set");
  EXPECT_EQ(
      pod("affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
          "[{matchExpressions: [{key: a, operator: In}, {key: b, operator: Frob}]}]}}}"),
      "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]."
      "matchExpressions[1].operator: Unsupported value: \"Frob\": supported values: \"DoesNotExist\", "
      "\"Exists\", \"Gt\", \"In\", \"Lt\", \"NotIn\"\n"
      "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]."
      "matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'");
  EXPECT_EQ(pod("securityContext: {runAsUser: -1}, hostAliases: [{ip: x}]"),
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, "
            "inclusive\nspec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. "
            "10.9.8.7 or 2001:db8::ffff)");
}
TEST(Validate, PodUpdate) {
  json::value before = object_of("v1/Pod",
                                 "metadata: {name: p, namespace: d, uid: u}\nspec: {containers: [{name: a, "
                                 "image: i}], tolerations: [{key: k, operator: Exists}]}");
  auto update = [&](const char* yaml) {
    return lines(validate_update("v1/Pod", object_of("v1/Pod", yaml), before, true));
  };
  EXPECT_EQ(update("metadata: {name: p, namespace: d, uid: u, labels: {x: 'y'}}\nspec: {containers: [{name: "
                   "a, image: j}], activeDeadlineSeconds: 5, tolerations: [{key: k, operator: Exists}, {key: "
                   "l, operator: Exists}]}")
                .find("imagePullPolicy"),
            std::string::npos);
  EXPECT_EQ(update("metadata: {name: p, namespace: d, uid: u}\nspec: {containers: [{name: a, image: j, "
                   "imagePullPolicy: Always}], tolerations: [{key: k, operator: Exists}]}"),
            "");
  EXPECT_EQ(update("metadata: {name: p, namespace: d, uid: u}\nspec: {containers: [{name: a, image: i}], "
                   "hostNetwork: true}"),
            "spec: Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec."
            "tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
            "(allow it to be set to 1 if it was previously negative): changed: hostNetwork, tolerations");
  EXPECT_EQ(update("metadata: {name: p, namespace: d, uid: u}\nspec: {containers: [{name: a, image: i}, "
                   "{name: b, image: i}], tolerations: [{key: k, operator: Exists}]}"),
            "spec.containers: Forbidden: pod updates may not add or remove containers");
  EXPECT_EQ(update("metadata: {name: p, namespace: d, uid: v}\nspec: {containers: [{name: a, image: i}], "
                   "tolerations: [{key: k, operator: Exists}]}"),
            "metadata.uid: Invalid value: \"v\": field is immutable");
}

const std::string kTemplate =
    "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: i}]}}";
TEST(Validate, Workloads) {
  auto rc = [](const std::string& spec) {
    return create("v1/ReplicationController", "metadata: {name: r, namespace: d}\nspec: {" + spec + "}");
  };
  EXPECT_EQ(rc(kTemplate), "");
  EXPECT_EQ(
      rc("selector: {x: 'y'}, replicas: -1, " + kTemplate),
      "spec.replicas: Invalid value: -1: must be greater than or equal to 0\nspec.template.metadata.labels: "
      "Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`");
  EXPECT_EQ(rc("selector: {x: 'y'}"), "spec.template: Required value");
  EXPECT_EQ(rc("template: {spec: {restartPolicy: Never, containers: [{name: a, image: i}]}, metadata: "
               "{labels: {a: b}}}"),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"");
  auto deployment = [](const std::string& spec) {
    return create("apps/v1/Deployment", "metadata: {name: r, namespace: d}\nspec: {" + spec + "}");
  };
  std::string right = "selector: {matchLabels: {a: b}}, " + kTemplate;
  EXPECT_EQ(deployment(right), "");
  EXPECT_EQ(deployment(kTemplate), "spec.selector: Required value");
  EXPECT_EQ(deployment("selector: {}, " + kTemplate),
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment");
  EXPECT_EQ(deployment("selector: {matchLabels: {a: c}}, " + kTemplate),
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template "
            "`labels`");
  EXPECT_EQ(
      deployment("strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}, " + right),
      "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0");
  EXPECT_EQ(
      deployment("strategy: {type: Recreate, rollingUpdate: {}}, " + right),
      "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'");
  EXPECT_EQ(deployment("strategy: {rollingUpdate: {maxSurge: 1x}}, " + right).substr(0, 70),
            "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"1x\": a valid per");
  json::value before =
      object_of("apps/v1/Deployment", "metadata: {name: r, namespace: d}\nspec: {" + right + "}");
  json::value after =
      object_of("apps/v1/Deployment",
                "metadata: {name: r, namespace: d}\nspec: {selector: {matchLabels: {c: d}}, template: "
                "{metadata: {labels: {c: d}}, spec: {containers: [{name: a, image: i}]}}}");
  EXPECT_EQ(lines(validate_update("apps/v1/Deployment", after, before, true)),
            "spec.selector: Invalid value: {\"matchLabels\":{\"c\":\"d\"}}: field is immutable");
}

TEST(Validate, Services) {
  auto service = [](const std::string& spec) {
    return create("v1/Service", "metadata: {name: s, namespace: d}\nspec: {" + spec + "}");
  };
  EXPECT_EQ(service("ports: [{port: 80}]"), "");
  EXPECT_EQ(service(""), "spec.ports: Required value");
  EXPECT_EQ(service("clusterIP: None"), "");
  EXPECT_EQ(service("ports: [{port: 80}, {port: 80}]"),
            "spec.ports[0].name: Required value\nspec.ports[1].name: Required value\nspec.ports[1]: "
            "Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}");
  EXPECT_EQ(service("ports: [{port: 80, nodePort: 30000}]"),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'");
  EXPECT_EQ(service("type: ExternalName"), "spec.externalName: Required value");
  EXPECT_EQ(service("type: ExternalName, externalName: a.b, clusterIP: None, ipFamilies: [IPv4], "
                    "ipFamilyPolicy: SingleStack"),
            "spec.clusterIPs: Forbidden: may not be set for ExternalName services\nspec.ipFamilyPolicy: "
            "Forbidden: may not be set for ExternalName services\nspec.ipFamilies: Forbidden: may not be set "
            "for ExternalName services");
  EXPECT_EQ(service("loadBalancerClass: a.b/c, healthCheckNodePort: 31000, ports: [{port: 80}]"),
            "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'\n"
            "spec.healthCheckNodePort: Invalid value: 31000: may only be set when `type` is 'LoadBalancer' "
            "and `externalTrafficPolicy` is 'Local'");
  EXPECT_EQ(
      service("type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/8, garbage], ports: [{port: 80}]"),
      "spec.loadBalancerSourceRanges[1]: Invalid value: \"garbage\": must be a valid CIDR value, (e.g. "
      "10.9.8.0/24 or 2001:db8::/64)");
  EXPECT_EQ(service("clusterIP: x, ports: [{port: 80}]"),
            "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or "
            "2001:db8::ffff)");
  EXPECT_EQ(service("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 90000}}, "
                    "ports: [{port: 80}]"),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than "
            "0 and less than or equal to 86400");
  EXPECT_EQ(service("type: Frob, ports: [{port: 80}]"),
            "spec.type: Unsupported value: \"Frob\": supported values: \"ClusterIP\", \"ExternalName\", "
            "\"LoadBalancer\", \"NodePort\"");
  json::value before = object_of(
      "v1/Service", "metadata: {name: s, namespace: d}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}");
  json::value after = object_of(
      "v1/Service", "metadata: {name: s, namespace: d}\nspec: {clusterIP: 10.96.0.2, ports: [{port: 80}]}");
  EXPECT_EQ(lines(validate_update("v1/Service", after, before, true)),
            "spec.clusterIPs[0]: Invalid value: [\"10.96.0.2\"]: may not change once set");
  EXPECT_EQ(
      create("v1/Endpoints",
             "metadata: {name: s, namespace: d}\nsubsets: [{addresses: [{ip: 127.0.0.1}], ports: [{port: "
             "80}]}, {ports: [{port: 0}]}]"),
      "subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, "
      "inclusive\nsubsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range "
      "(127.0.0.0/8, ::1/128)\nsubsets[1]: Required value: must specify `addresses` or `notReadyAddresses`");
  EXPECT_EQ(
      create("discovery.k8s.io/v1/EndpointSlice",
             "metadata: {name: s, namespace: d}\naddressType: IPv4\nendpoints: [{addresses: ['fd00::1']}]"),
      "endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be a valid IPv4 address");
}

TEST(Validate, ConfigMapsSecretsAndOthers) {
  EXPECT_EQ(create("v1/ConfigMap", "metadata: {name: c, namespace: d}\ndata: {'a b': x, ok: 'y', '..z': w}")
                .substr(0, 64),
            "data[a b]: Invalid value: \"a b\": a valid config key must consist");
  EXPECT_EQ(create("v1/ConfigMap",
                   "metadata: {name: c, namespace: d}\ndata: {a: '" + std::string(1100000, 'x') + "'}"),
            "[]: Too long: may not be more than 1048576 bytes");
  EXPECT_EQ(create("v1/Secret",
                   "metadata: {name: c, namespace: d}\ntype: kubernetes.io/tls\nstringData: {tls.crt: x}"),
            "data[tls.key]: Required value");
  json::value before =
      object_of("v1/ConfigMap", "metadata: {name: c, namespace: d}\nimmutable: true\ndata: {a: b}");
  json::value after = object_of("v1/ConfigMap", "metadata: {name: c, namespace: d}\ndata: {a: c}");
  EXPECT_EQ(lines(validate_update("v1/ConfigMap", after, before, true)),
            "immutable: Forbidden: field is immutable when `immutable` is set\ndata: Forbidden: field is "
            "immutable when `immutable` is set");
  EXPECT_EQ(create("coordination.k8s.io/v1/Lease",
                   "metadata: {name: c, namespace: d}\nspec: {leaseDurationSeconds: 0}"),
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0");
  EXPECT_EQ(create("v1/Event", "metadata: {name: c, namespace: d}\ninvolvedObject: {namespace: e}"),
            "involvedObject.namespace: Invalid value: \"e\": does not match event.namespace");
  EXPECT_EQ(create("v1/Node", "metadata: {name: 'n'}\nspec: {taints: [{key: a, effect: Never}]}", false),
            "spec.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoExecute\", "
            "\"NoSchedule\", \"PreferNoSchedule\"");
}

TEST(Validate, StatusUpdatesAskForNoSpec) {
  json::value before =
      object_of("v1/Pod", "metadata: {name: p, namespace: d}\nspec: {containers: [{name: a, image: i}]}");
  json::value after = before;
  after.get_object()["status"] =
      json::object{{"phase", "Running"}, {"containerStatuses", json::array{json::object{{"name", "a"}}}}};
  EXPECT_EQ(lines(validate_status_update("v1/Pod", after, before)), "");
  after.get_object()["status"] = json::object{{"phase", "Walking"}};
  EXPECT_EQ(lines(validate_status_update("v1/Pod", after, before)).substr(0, 43),
            "status.phase: Unsupported value: \"Walking\":");
}

std::string defaulted(const char* gvk, std::string_view yaml) { return base::to_json(object_of(gvk, yaml)); }
TEST(Defaults, PerKind) {
  json::value pod =
      object_of("v1/Pod",
                "spec: {hostNetwork: true, serviceAccountName: x, volumes: [{name: v}], containers: [{name: "
                "a, image: 'r:5000/i', ports: [{containerPort: 80}], livenessProbe: {periodSeconds: 0, "
                "httpGet: {port: 1}}, resources: {limits: {cpu: 1}}}, {name: b, image: 'i:1'}, {name: c, "
                "image: 'i@sha256:ab'}, {name: d, image: 'i:latest'}]}");
  EXPECT_EQ(
      base::to_json(pod.at("spec").at("containers").at(0)),
      R"({"name":"a","image":"r:5000/i","ports":[{"containerPort":80,"protocol":"TCP","hostPort":80}],"livenessProbe":{"periodSeconds":10,"httpGet":{"port":1,"path":"/","scheme":"HTTP"},"failureThreshold":3,"successThreshold":1,"timeoutSeconds":1},"resources":{"limits":{"cpu":"1"},"requests":{"cpu":"1"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"Always"})");
  EXPECT_EQ(base::string_at(pod.at("spec").at("containers").at(1), "imagePullPolicy"), "IfNotPresent");
  EXPECT_EQ(base::string_at(pod.at("spec").at("containers").at(2), "imagePullPolicy"), "IfNotPresent");
  EXPECT_EQ(base::string_at(pod.at("spec").at("containers").at(3), "imagePullPolicy"), "Always");
  EXPECT_EQ(base::to_json(pod.at("spec").at("volumes")), R"([{"name":"v","emptyDir":{}}])");
  EXPECT_EQ(base::string_at(pod, "spec", "serviceAccount"), "x");
  EXPECT_EQ(
      defaulted(
          "v1/Service",
          "spec: {type: NodePort, sessionAffinity: ClientIP, clusterIP: 10.96.0.9, ports: [{port: 80}]}"),
      R"({"spec":{"type":"NodePort","sessionAffinity":"ClientIP","clusterIP":"10.96.0.9","ports":[{"port":80,"protocol":"TCP","targetPort":80}],"sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10800}},"internalTrafficPolicy":"Cluster","externalTrafficPolicy":"Cluster","clusterIPs":["10.96.0.9"],"ipFamilyPolicy":"SingleStack","ipFamilies":["IPv4"]}})");
  json::value rc = object_of("v1/ReplicationController", "spec: {" + kTemplate + "}");
  EXPECT_EQ(base::to_json(rc.at("spec").at("selector")), R"({"a":"b"})");
  EXPECT_EQ(base::to_json(rc.at("metadata").at("labels")), R"({"a":"b"})");
  EXPECT_EQ(base::as_int(base::find_path(rc, "spec", "replicas")), 1);
  EXPECT_EQ(base::string_at(rc, "spec", "template", "spec", "restartPolicy"), "Always");
  json::value deployment = object_of("apps/v1/Deployment", "spec: {" + kTemplate + "}");
  EXPECT_EQ(base::to_json(deployment.at("spec").at("strategy")),
            R"({"type":"RollingUpdate","rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"}})");
  EXPECT_EQ(base::string_at(deployment.at("spec").at("template").at("spec").at("containers").at(0),
                            "imagePullPolicy"),
            "Always");
  EXPECT_EQ(
      defaulted("v1/Namespace", "metadata: {name: 'n'}"),
      R"({"metadata":{"name":"n","labels":{"kubernetes.io/metadata.name":"n"}},"spec":{"finalizers":["kubernetes"]},"status":{"phase":"Active"}})");
  EXPECT_EQ(defaulted("v1/Secret", "data: {a: eA==}\nstringData: {b: hello}"),
            R"({"data":{"a":"eA==","b":"aGVsbG8="},"type":"Opaque"})");
}
TEST(Defaults, QosClass) {
  auto qos = [](const char* containers) {
    return qos_class(object_of("v1/Pod", std::string("spec: {containers: ") + containers + "}"));
  };
  EXPECT_EQ(qos("[{name: a}]"), "BestEffort");
  EXPECT_EQ(qos("[{name: a, resources: {requests: {cpu: 1}}}]"), "Burstable");
  EXPECT_EQ(qos("[{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}]"), "Guaranteed");
  EXPECT_EQ(qos("[{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}, {name: b}]"), "Burstable");
}

}  // namespace
}  // namespace api
