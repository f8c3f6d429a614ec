// Pod + container + image in, config.json out.
#include "kubelet/pod/oci_config.h"

#include <gtest/gtest.h>

#include "kubelet/pod/plan.h"

namespace kubelet {
namespace {

namespace json = base::json;

api::Pod pod_of(const std::string& spec) {
  auto pod = api::decode_text<api::Pod>(
      R"({"metadata":{"name":"web","namespace":"shop","uid":"u1"},"spec":)" + spec + "}");
  EXPECT_TRUE(pod.ok()) << (pod.ok() ? "" : pod.error().message());
  return *pod;
}
Launch launch() {
  Launch l;
  l.image.entrypoint = {"/entry"};
  l.image.cmd = {"serve"};
  l.env = {"PATH=/bin", "PORT=80"};
  l.hostname = "web";
  l.pod_cgroup = "/sampan/podu1";
  l.hosts = "/p/hosts";
  l.etc_hostname = "/p/hostname";
  l.resolv_conf = "/p/resolv.conf";
  l.shm = "/p/shm";
  l.termination_log = "/p/term";
  l.host.memory_bytes = 1 << 30;
  l.host.min_oom_score_adj = -1000;
  return l;
}
json::value config(const std::string& spec, Launch l = launch()) {
  api::Pod pod = pod_of(spec);
  auto out = oci_config(pod, pod.spec->containers[0], l);
  EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.error().message());
  return out.ok() ? *out : json::value();
}
template <typename... Keys>
std::string at(const json::value& v, Keys... keys) {
  const json::value* found = base::find_path(v, keys...);
  return found ? base::to_json(*found) : "-";
}

TEST(OciConfig, APlainContainer) {
  json::value c = config(R"({"containers":[{"name":"web","image":"x:1"}]})");
  EXPECT_EQ(
      base::to_json(c),
      R"({"ociVersion":"1.2.0","hostname":"web","process":{"terminal":false,"user":{"uid":0,"gid":0,"additionalGids":[0]},)"
      R"("args":["/entry","serve"],"env":["PATH=/bin","PORT=80","HOSTNAME=web","HOME=/"],"cwd":"/","capabilities":{)"
      R"("bounding":["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FOWNER","CAP_FSETID","CAP_KILL","CAP_SETGID","CAP_SETUID","CAP_SETPCAP","CAP_NET_BIND_SERVICE","CAP_NET_RAW","CAP_SYS_CHROOT","CAP_MKNOD","CAP_AUDIT_WRITE","CAP_SETFCAP"],)"
      R"("effective":["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FOWNER","CAP_FSETID","CAP_KILL","CAP_SETGID","CAP_SETUID","CAP_SETPCAP","CAP_NET_BIND_SERVICE","CAP_NET_RAW","CAP_SYS_CHROOT","CAP_MKNOD","CAP_AUDIT_WRITE","CAP_SETFCAP"],)"
      R"("permitted":["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FOWNER","CAP_FSETID","CAP_KILL","CAP_SETGID","CAP_SETUID","CAP_SETPCAP","CAP_NET_BIND_SERVICE","CAP_NET_RAW","CAP_SYS_CHROOT","CAP_MKNOD","CAP_AUDIT_WRITE","CAP_SETFCAP"]},)"
      R"("noNewPrivileges":false,"oomScoreAdj":1000},"root":{"path":"rootfs","readonly":false},"mounts":[)"
      R"({"destination":"/proc","type":"proc","source":"proc","options":["nosuid","noexec","nodev"]},)"
      R"({"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","strictatime","mode=755","size=65536k"]},)"
      R"({"destination":"/dev/pts","type":"devpts","source":"devpts","options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620","gid=5"]},)"
      R"({"destination":"/dev/mqueue","type":"mqueue","source":"mqueue","options":["nosuid","noexec","nodev"]},)"
      R"({"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]},)"
      R"({"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["nosuid","noexec","nodev","relatime","ro"]},)"
      R"({"destination":"/dev/shm","type":"bind","source":"/p/shm","options":["rbind","rprivate","rw"]},)"
      R"({"destination":"/etc/hosts","type":"bind","source":"/p/hosts","options":["rbind","rprivate","rw"]},)"
      R"({"destination":"/etc/hostname","type":"bind","source":"/p/hostname","options":["rbind","rprivate","rw"]},)"
      R"({"destination":"/etc/resolv.conf","type":"bind","source":"/p/resolv.conf","options":["rbind","rprivate","rw"]},)"
      R"({"destination":"/dev/termination-log","type":"bind","source":"/p/term","options":["rbind","rprivate","rw"]}],)"
      R"("linux":{"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"cgroup"}],"cgroupsPath":"/sampan/podu1/web.0",)"
      R"("resources":{"cpu":{"shares":2}},)"
      R"("maskedPaths":["/proc/acpi","/proc/asound","/proc/interrupts","/proc/kcore","/proc/keys","/proc/latency_stats","/proc/timer_list","/proc/timer_stats","/proc/sched_debug","/proc/scsi","/sys/firmware","/sys/devices/virtual/powercap","/sys/devices/system/cpu/cpu0/thermal_throttle"],)"
      R"("readonlyPaths":["/proc/bus","/proc/fs","/proc/irq","/proc/sys","/proc/sysrq-trigger"]}})");
}

TEST(OciConfig, CommandArgsAndWorkingDir) {
  EXPECT_EQ(at(config(R"j({"containers":[{"name":"a","command":["/x","$(PORT)","$$(PORT)","$(NO)"]}]})j"),
               "process", "args"),
            R"j(["/x","80","$(PORT)","$(NO)"])j");
  EXPECT_EQ(at(config(R"j({"containers":[{"name":"a","args":["-p","$(PORT)"]}]})j"), "process", "args"),
            R"(["/entry","-p","80"])");
  EXPECT_EQ(at(config(R"({"containers":[{"name":"a","command":["/x"]}]})"), "process", "args"), R"(["/x"])");
  EXPECT_EQ(at(config(R"({"containers":[{"name":"a","workingDir":"/srv"}]})"), "process", "cwd"),
            R"("/srv")");
  Launch none = launch();
  none.image.entrypoint.clear();
  none.image.cmd.clear();
  api::Pod pod = pod_of(R"({"containers":[{"name":"a"}]})");
  EXPECT_FALSE(oci_config(pod, pod.spec->containers[0], none).ok());
}

TEST(OciConfig, Limits) {
  json::value c = config(
      R"({"containers":[{"name":"a","resources":{"limits":{"cpu":"500m","memory":"64Mi"},"requests":{"cpu":"250m","memory":"64Mi"}}}]})");
  EXPECT_EQ(at(c, "linux", "resources"),
            R"({"cpu":{"shares":256,"quota":50000,"period":100000},"memory":{"limit":67108864}})");
  EXPECT_EQ(at(c, "process", "oomScoreAdj"), "937");
  api::Pod pod = pod_of(R"({"initContainers":[{"name":"i","resources":{"limits":{"cpu":"2","memory":"1Gi"}}}],
      "containers":[{"name":"a","resources":{"limits":{"cpu":"500m","memory":"64Mi"}}},{"name":"b","resources":{"limits":{"cpu":"500m","memory":"64Mi"}}}]})");
  EXPECT_EQ(
      base::to_json(pod_resources(pod, 100)),
      R"({"cpu":{"shares":2048,"quota":200000,"period":100000},"memory":{"limit":1073741824},"pids":{"limit":100}})");
  EXPECT_EQ(base::to_json(pod_resources(pod_of(R"({"containers":[{"name":"a"}]})"), -1)),
            R"({"cpu":{"shares":2}})");
}

TEST(OciConfig, SecurityContext) {
  Launch l = launch();
  l.host.capabilities = ~(1ull << 24);  // no SYS_RESOURCE on this host
  json::value c = config(
      R"({"securityContext":{"fsGroup":2000,"supplementalGroups":[3000]},"containers":[{"name":"a","securityContext":{
      "readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"],"add":["NET_ADMIN","SYS_RESOURCE"]}}}]})",
      l);
  EXPECT_EQ(at(c, "process", "capabilities", "bounding"), R"(["CAP_NET_ADMIN"])");
  EXPECT_EQ(at(c, "process", "noNewPrivileges"), "true");
  EXPECT_EQ(at(c, "root", "readonly"), "true");
  EXPECT_EQ(at(c, "process", "user", "additionalGids"), "[0,2000,3000]");

  c = config(R"({"containers":[{"name":"a","securityContext":{"privileged":true}}]})", l);
  EXPECT_EQ(at(c, "linux", "maskedPaths"), "-");
  EXPECT_EQ(at(c, "linux", "resources", "devices"), R"([{"allow":true,"access":"rwm"}])");
  EXPECT_EQ(c.at("process").at("capabilities").at("bounding").as_array().size(), 40u);

  l.seccomp = json::object{{"defaultAction", "SCMP_ACT_ERRNO"}};
  c = config(R"({"containers":[{"name":"a"}]})", l);
  EXPECT_EQ(at(c, "linux", "seccomp"), R"({"defaultAction":"SCMP_ACT_ERRNO"})");

  api::Pod pod =
      pod_of(R"({"containers":[{"name":"a","securityContext":{"capabilities":{"add":["FLY"]}}}]})");
  auto bad = oci_config(pod, pod.spec->containers[0], l);
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message().find("unknown capability \"FLY\""), std::string::npos);
}

TEST(OciConfig, BlockVolumesAreDevicesThatItMayUse) {
  Launch with = launch();
  with.volume_devices = {{"/dev/data", 7, 3, 0660, 0, 6, false}, {"/dev//old/", 7, 4, 0660, 0, 6, true}};
  const json::value made = config(R"({"containers":[{"name":"c","image":"i"}]})", with).at("linux");
  EXPECT_EQ(base::to_json(made.at("devices")),
            R"([{"path":"/dev/data","type":"b","major":7,"minor":3,"fileMode":432,"uid":0,"gid":6},)"
            R"({"path":"/dev/old","type":"b","major":7,"minor":4,"fileMode":432,"uid":0,"gid":6}])");
  EXPECT_EQ(base::to_json(made.at("resources").at("devices")),
            R"([{"allow":true,"type":"b","major":7,"minor":3,"access":"rwm"},)"
            R"({"allow":true,"type":"b","major":7,"minor":4,"access":"rm"}])");
}
TEST(OciConfig, WhoRunsIt) {
  runtime::Image image;
  image.user = "www:www";
  auto text = [&](const char* spec) {
    api::Pod pod = pod_of(spec);
    return user_text(pod, pod.spec->containers[0], image);
  };
  EXPECT_EQ(text(R"({"containers":[{"name":"a"}]})"), "www:www");
  EXPECT_EQ(text(R"({"securityContext":{"runAsUser":5},"containers":[{"name":"a"}]})"), "5");
  EXPECT_EQ(
      text(
          R"({"securityContext":{"runAsUser":5,"runAsGroup":6},"containers":[{"name":"a","securityContext":{"runAsUser":7}}]})"),
      "7:6");
  api::Pod pod = pod_of(R"({"securityContext":{"runAsNonRoot":true},"containers":[{"name":"a"}]})");
  runtime::User user{.uid = 33, .gid = 33, .groups = {}, .home = "/"};
  auto status = check_non_root(pod, pod.spec->containers[0], image, user);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message().find("non-numeric user (www)"), std::string::npos);
  image.user = "";
  user.uid = 0;
  status = check_non_root(pod, pod.spec->containers[0], image, user);
  EXPECT_NE(status.error().message().find("container has runAsNonRoot and image will run as root"),
            std::string::npos);
  pod.spec->security_context->run_as_user = 7;
  user.uid = 7;
  EXPECT_TRUE(check_non_root(pod, pod.spec->containers[0], image, user).ok());
}

TEST(OciConfig, VolumesParentsFirst) {
  Launch l = launch();
  l.mounts = {{.source = "/v/b",
               .destination = "/data/deep/er",
               .read_only = true,
               .recursive_read_only = false,
               .propagation = "HostToContainer"},
              {.source = "/v/a",
               .destination = "/data",
               .read_only = false,
               .recursive_read_only = false,
               .propagation = "Bidirectional"}};
  json::value c = config(
      R"({"shareProcessNamespace":true,"containers":[{"name":"a","volumeMounts":[{"name":"h","mountPath":"/etc/hosts"}]}]})",
      l);
  std::string list;
  for (const auto& m : c.at("mounts").as_array())
    if (m.at("type") == "bind") list += std::string(m.at("destination").as_string()) + " ";
  EXPECT_EQ(list, "/data /dev/shm /etc/hostname /etc/resolv.conf /dev/termination-log /data/deep/er ");
  EXPECT_EQ(at(c, "linux", "rootfsPropagation"), R"("rshared")");
  EXPECT_EQ(at(c, "linux", "namespaces"), R"([{"type":"mount"},{"type":"cgroup"}])");
}

TEST(NestedMountPoints, PathsAreComparedClean) {
  auto pod = api::decode_text<api::Pod>(
      R"({"metadata":{"name":"p","uid":"u"},"spec":{"containers":[{"name":"c"}]}})");
  Launch launch;
  launch.mounts.push_back({.source = "inner",
                           .destination = "/etc/deep/er/",
                           .read_only = true,
                           .recursive_read_only = false,
                           .propagation = "",
                           .kubelet_owned = true});
  launch.mounts.push_back({.source = "outer",
                           .destination = "/etc//",
                           .read_only = true,
                           .recursive_read_only = false,
                           .propagation = "",
                           .kubelet_owned = true});
  auto binds = container_binds(*pod, pod->spec->containers[0], launch);
  ASSERT_EQ(binds.size(), 2u);
  EXPECT_EQ(binds[0].destination + " " + binds[1].destination, "/etc /etc/deep/er") << "parents first";
  auto points = nested_mount_points(binds);
  ASSERT_EQ(points.size(), 1u);
  EXPECT_EQ(points[0].volume + ":" + points[0].relative, "outer:deep/er");
}

TEST(NestedMountPoints, InsideReadOnlyVolumesOfOurs) {
  auto mount = [](std::string source, std::string destination, bool read_only, bool ours) {
    return ContainerMount{.source = std::move(source),
                          .destination = std::move(destination),
                          .read_only = read_only,
                          .recursive_read_only = false,
                          .propagation = "",
                          .kubelet_owned = ours};
  };
  auto text = [](const std::vector<ContainerMount>& binds) {
    std::string out;
    for (const auto& point : nested_mount_points(binds))
      out += point.volume + ":" + point.relative + "<" + point.source + " ";
    return out;
  };
  EXPECT_EQ(text({mount("secret", "/var/run/secrets", true, true),
                  mount("token", "/var/run/secrets/kubernetes.io/serviceaccount", true, true)}),
            "secret:kubernetes.io/serviceaccount<token ");
  EXPECT_EQ(text({mount("map", "/etc", true, true), mount("hosts", "/etc/hosts", false, false),
                  mount("other", "/etcetera", true, true)}),
            "map:hosts<hosts ");
  EXPECT_EQ(
      text({mount("a", "/a", true, true), mount("b", "/a/b", true, true), mount("c", "/a/b/c", false, true)}),
      "a:b<b b:c<c ")
      << "in the nearest one";
  EXPECT_EQ(text({mount("host", "/a", true, false), mount("b", "/a/b", true, true)}), "")
      << "nothing is made in the host's directories";
  EXPECT_EQ(text({mount("empty", "/a", false, true), mount("b", "/a/b", true, true)}), "")
      << "the runtime can do that";
  EXPECT_EQ(text({mount("all", "/", true, true), mount("b", "/b", true, true)}), "all:b<b ");
}

}  // namespace
}  // namespace kubelet
