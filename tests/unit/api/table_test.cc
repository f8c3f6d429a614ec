#include "api/table/table.h"

#include <gtest/gtest.h>

#include "api/yaml.h"

namespace api {
namespace {

using namespace std::chrono_literals;

const base::Time kNow = *base::parse_time("2026-01-02T12:00:00Z");

// "NAME: cell" lines of one row, priority 1 in brackets.
std::string row(const char* gvk, std::string_view yaml) {
  auto object = parse_yaml(yaml);
  if (!object.ok()) return object.error().message();
  json::array columns = table_columns(gvk), cells = table_cells(gvk, object->at(0), kNow);
  if (columns.size() != cells.size()) return "columns and cells differ in number";
  std::string kept;
  append_cells(kept, open_cells(gvk, object->at(0)), kNow);
  EXPECT_EQ(kept, json::serialize(cells));
  std::string out;
  for (size_t i = 0; i < cells.size(); ++i) {
    std::string cell =
        cells[i].is_string() ? std::string(base::as_string(&cells[i])) : base::to_json(cells[i]);
    out += (out.empty() ? "" : " | ") +
           (base::as_int(base::find(columns[i], "priority")) ? "[" + cell + "]" : cell);
    bool number = base::string_at(columns[i], "type") == "integer";
    EXPECT_EQ(number && !cells[i].is_int64(), false) << gvk << " " << columns[i];
  }
  return out;
}

TEST(Table, Ages) {
  EXPECT_EQ(human_duration(0s), "0s");
  EXPECT_EQ(human_duration(119s), "119s");
  EXPECT_EQ(human_duration(120s), "2m");
  EXPECT_EQ(human_duration(200s), "3m20s");
  EXPECT_EQ(human_duration(15min), "15m");
  EXPECT_EQ(human_duration(3h), "3h");
  EXPECT_EQ(human_duration(5h + 7min), "5h7m");
  EXPECT_EQ(human_duration(30h), "30h");
  EXPECT_EQ(human_duration(52h), "2d4h");
  EXPECT_EQ(human_duration(24h * 100), "100d");
  EXPECT_EQ(human_duration(24h * 365 * 3 + 24h * 10), "3y10d");
  EXPECT_EQ(human_duration(24h * 365 * 9), "9y");
  EXPECT_EQ(human_duration(-5s), "<invalid>");
  EXPECT_EQ(human_age("", kNow), "<unknown>");
}

TEST(Table, KeptCellsAgeWithTheClock) {
  json::value event =
      base::parse_json(
          R"({"metadata":{"name":"e"},"message":"\\u00ff \u00ff1\u00ff","lastTimestamp":"2026-01-02T11:59:00Z"})")
          .value();
  std::string open = open_cells("v1/Event", event);
  for (base::Duration later : {base::Duration(0s), base::Duration(5min)}) {
    std::string shown;
    append_cells(shown, open, kNow + later);
    EXPECT_EQ(shown, json::serialize(table_cells("v1/Event", event, kNow + later)));
  }
}

constexpr const char* kPod = "metadata: {name: p, creationTimestamp: '2026-01-02T11:59:00Z'}\n";
std::string pod(const std::string& rest) { return row("v1/Pod", kPod + rest); }

TEST(Table, PodStatus) {
  EXPECT_EQ(pod("spec: {nodeName: 'n', containers: [{name: a}, {name: b}]}\n"
                "status: {phase: Running, podIP: 10.244.0.2, conditions: [{type: Ready, status: 'True'}], "
                "containerStatuses: [{name: a, ready: true, restartCount: 3, state: {running: {}}, "
                "lastState: {terminated: {finishedAt: '2026-01-02T11:58:00Z'}}}, {name: b, ready: false, "
                "restartCount: 0, state: {running: {}}}]}\n"),
            "p | 1/2 | Running | 3 (2m ago) | 60s | [10.244.0.2] | [n] | [<none>] | [<none>]");
  EXPECT_EQ(pod("spec: {containers: [{name: a}]}\nstatus: {phase: Pending}\n"),
            "p | 0/1 | Pending | 0 | 60s | [<none>] | [<none>] | [<none>] | [<none>]");
  auto status = [](const std::string& rest) {
    std::string all = pod(rest);
    return all.substr(4, all.find(" | ", all.find(" | ", 4) + 3) - 4);
  };
  EXPECT_EQ(status("spec: {containers: [{name: a}]}\nstatus: {phase: Running, containerStatuses: [{name: a, "
                   "state: {waiting: {reason: CrashLoopBackOff}}}]}\n"),
            "0/1 | CrashLoopBackOff");
  EXPECT_EQ(status("spec: {containers: [{name: a}]}\nstatus: {phase: Succeeded, containerStatuses: [{name: "
                   "a, state: {terminated: {reason: Completed}}}]}\n"),
            "0/1 | Completed");
  EXPECT_EQ(status("spec: {containers: [{name: a}]}\nstatus: {phase: Failed, containerStatuses: [{name: a, "
                   "state: {terminated: {exitCode: 3}}}]}\n"),
            "0/1 | ExitCode:3");
  EXPECT_EQ(status("spec: {containers: [{name: a}]}\nstatus: {phase: Failed, reason: Evicted}\n"),
            "0/1 | Evicted");
  EXPECT_EQ(status("spec: {containers: [{name: a}], initContainers: [{name: i}, {name: j}]}\nstatus: {phase: "
                   "Pending, initContainerStatuses: [{name: i, state: {running: {}}}, {name: j, state: "
                   "{waiting: {reason: PodInitializing}}}]}\n"),
            "0/1 | Init:0/2");
  EXPECT_EQ(status("spec: {containers: [{name: a}], initContainers: [{name: i}, {name: j}]}\nstatus: {phase: "
                   "Pending, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 0}}}, {name: "
                   "j, state: {waiting: {reason: CrashLoopBackOff}}}]}\n"),
            "0/1 | Init:CrashLoopBackOff");
  EXPECT_EQ(
      status("spec: {containers: [{name: a}], initContainers: [{name: i}]}\nstatus: {phase: Failed, "
             "initContainerStatuses: [{name: i, state: {terminated: {exitCode: 1, reason: Error}}}]}\n"),
      "0/1 | Init:Error");
  EXPECT_EQ(
      status("spec: {containers: [{name: a}], initContainers: [{name: s, restartPolicy: Always}]}\nstatus: "
             "{phase: Running, initContainerStatuses: [{name: s, started: true, ready: true, state: "
             "{running: {}}}], containerStatuses: [{name: a, ready: true, state: {running: {}}}]}\n"),
      "2/2 | Running");
  std::string deleted = row("v1/Pod",
                            "metadata: {name: p, deletionTimestamp: '2026-01-02T11:59:00Z'}\nspec: "
                            "{containers: [{name: a}]}\nstatus: {phase: Running}\n");
  EXPECT_EQ(deleted.substr(0, 21), "p | 0/1 | Terminating");
}

TEST(Table, Workloads) {
  const char* rest =
      "spec: {replicas: 3, selector: {app: x}, template: {spec: {containers: [{name: a, image: i}, {name: b, "
      "image: j}]}}}\nstatus: {replicas: 2, readyReplicas: 1}\n";
  EXPECT_EQ(row("v1/ReplicationController", std::string("metadata: {name: r}\n") + rest),
            "r | 3 | 2 | 1 | <unknown> | [a,b] | [i,j] | [app=x]");
  EXPECT_EQ(row("apps/v1/ReplicaSet",
                "metadata: {name: r}\nspec: {replicas: 1, selector: {matchLabels: {app: x}, "
                "matchExpressions: [{key: t, operator: In, values: [a, b]}]}}\n"),
            "r | 1 | 0 | 0 | <unknown> | [] | [] | [app=x,t in (a,b)]");
  EXPECT_EQ(row("apps/v1/Deployment",
                "metadata: {name: d}\nspec: {replicas: 2, selector: {matchLabels: {app: x}}}\nstatus: "
                "{readyReplicas: 1, updatedReplicas: 2, availableReplicas: 1}\n"),
            "d | 1/2 | 2 | 1 | <unknown> | [] | [] | [app=x]");
}
TEST(Table, Services) {
  EXPECT_EQ(row("v1/Service",
                "metadata: {name: s}\nspec: {type: NodePort, clusterIP: 10.96.0.9, ports: [{port: 80, "
                "protocol: TCP, nodePort: 30080}, {port: 53, protocol: UDP}], selector: {b: '2', a: '1'}}\n"),
            "s | NodePort | 10.96.0.9 | <none> | 80:30080/TCP,53/UDP | <unknown> | [a=1,b=2]");
  EXPECT_EQ(row("v1/Service", "metadata: {name: s}\nspec: {type: LoadBalancer, clusterIP: None}\n"),
            "s | LoadBalancer | None | <pending> | <none> | <unknown> | [<none>]");
  EXPECT_EQ(row("v1/Service", "metadata: {name: s}\nspec: {type: ExternalName, externalName: example.com}\n"),
            "s | ExternalName | <none> | example.com | <none> | <unknown> | [<none>]");
  EXPECT_EQ(row("v1/Endpoints",
                "metadata: {name: e}\nsubsets: [{addresses: [{ip: 1.1.1.1}, {ip: 1.1.1.2}, {ip: 1.1.1.3}, "
                "{ip: 1.1.1.4}, {ip: 'fd00::1'}], ports: [{port: 80}]}]\n"),
            "e | 1.1.1.1:80,1.1.1.2:80,1.1.1.3:80 + 2 more... | <unknown>");
  EXPECT_EQ(row("v1/Endpoints", "metadata: {name: e}\n"), "e | <none> | <unknown>");
  EXPECT_EQ(row("discovery.k8s.io/v1/EndpointSlice",
                "metadata: {name: e}\naddressType: IPv4\nports: [{port: 80}]\nendpoints: [{addresses: "
                "[1.1.1.1]}]\n"),
            "e | IPv4 | 80 | 1.1.1.1 | <unknown>");
  EXPECT_EQ(row("discovery.k8s.io/v1/EndpointSlice", "metadata: {name: e}\naddressType: IPv4\n"),
            "e | IPv4 | <unset> | <unset> | <unknown>");
}
TEST(Table, TheRest) {
  EXPECT_EQ(row("v1/Node",
                "metadata: {name: 'n', labels: {node-role.kubernetes.io/worker: '', "
                "node-role.kubernetes.io/control-plane: ''}}\nspec: {unschedulable: true}\nstatus: "
                "{conditions: [{type: Ready, status: 'True'}], addresses: [{type: InternalIP, address: "
                "10.0.0.1}], nodeInfo: {kubeletVersion: v1, osImage: Debian, kernelVersion: '6.18', "
                "containerRuntimeVersion: 'sampan://0.1'}}\n"),
            "n | Ready,SchedulingDisabled | control-plane,worker | <unknown> | v1 | [10.0.0.1] | [<none>] | "
            "[Debian] | [6.18] | [sampan://0.1]");
  EXPECT_EQ(row("v1/Node", "metadata: {name: 'n'}\nstatus: {conditions: [{type: Ready, status: Unknown}]}\n")
                .substr(0, 21),
            "n | NotReady | <none>");
  EXPECT_EQ(row("v1/Namespace", "metadata: {name: 'n'}\nstatus: {phase: Active}\n"),
            "n | Active | <unknown>");
  EXPECT_EQ(row("v1/ConfigMap", "metadata: {name: c}\ndata: {a: b, c: d}\nbinaryData: {e: ''}\n"),
            "c | 3 | <unknown>");
  EXPECT_EQ(row("v1/Secret", "metadata: {name: c}\ntype: Opaque\ndata: {a: b}\n"),
            "c | Opaque | 1 | <unknown>");
  EXPECT_EQ(row("coordination.k8s.io/v1/Lease", "metadata: {name: l}\nspec: {holderIdentity: h}\n"),
            "l | h | <unknown>");
  EXPECT_EQ(row("v1/Event",
                "metadata: {name: e}\ninvolvedObject: {kind: Pod, name: p, fieldPath: "
                "'spec.containers{a}'}\nlastTimestamp: '2026-01-02T11:59:30Z'\nfirstTimestamp: "
                "'2026-01-02T11:00:00Z'\ncount: 4\ntype: Warning\nreason: BackOff\nmessage: \"it "
                "failed\\n\"\nsource: {component: kubelet, host: 'n'}\n"),
            "30s | Warning | BackOff | pod/p | [spec.containers{a}] | [kubelet, n] | it failed | [60m] | [4] "
            "| [e]");
  EXPECT_EQ(row("rbac.authorization.k8s.io/v1/Role",
                "metadata: {name: r, creationTimestamp: '2026-01-02T11:59:30Z'}\n"),
            "r | 2026-01-02T11:59:30Z");
}

}  // namespace
}  // namespace api
