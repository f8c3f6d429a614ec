#include "runtime/launch/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "runtime/launch/seccomp.h"
#include "runtime/runtime.h"

namespace {

using testing::HasSubstr;
using testing::Not;
namespace json = base::json;

constexpr const char* kHybrid =
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "36 31 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n"
    "39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
constexpr const char* kUnified = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";

// Compares with tests/unit/runtime/golden/NAME; SAMPAN_GOLDEN=write makes it anew.
void expect_golden(const std::string& name, const std::string& text) {
  std::string path = SAMPAN_SOURCE_DIR "/tests/unit/runtime/golden/" + name;
  const char* mode = ::getenv("SAMPAN_GOLDEN");
  if (mode && std::string(mode) == "write") {
    std::ofstream(path) << text;
    return;
  }
  std::ifstream in(path);
  std::stringstream want;
  want << in.rdbuf();
  EXPECT_EQ(text, want.str()) << "if this is meant: SAMPAN_GOLDEN=write";
}

std::string plan_text(const json::object& document, const char* mountinfo, runtime::LaunchFacts facts) {
  auto config = runtime::parse_config(document);
  if (!config.ok()) return config.error().message();
  runtime::CgroupLayout layout = runtime::parse_cgroup_layout(mountinfo);
  facts.layout = &layout;
  facts.cgroup = "/box";
  auto plan = runtime::plan_launch(*config, facts);
  return plan.ok() ? plan->text() : plan.error().message();
}

TEST(LaunchPlan, ABundleOnHybridCgroups) {
  json::object c = runtime::default_config();
  c["hostname"] = "boat";
  c["process"].as_object()["rlimits"] =
      json::array{json::object{{"type", "RLIMIT_NOFILE"}, {"soft", 10}, {"hard", 20}}};
  c["process"].as_object()["noNewPrivileges"] = true;
  c["linux"].as_object()["resources"].as_object()["memory"] = json::object{{"limit", 1000}, {"swap", 2000}};
  c["linux"].as_object()["seccomp"] = json::object{{"defaultAction", "SCMP_ACT_ALLOW"}};
  expect_golden("bundle_hybrid.txt", plan_text(c, kHybrid, {.rootfs = "/b/rootfs", .wait_start = true}));
}

TEST(LaunchPlan, LayersOnUnifiedCgroups) {
  json::object c = runtime::default_config();
  json::object& process = c["process"].as_object();
  process["user"] = json::object{{"uid", 33}, {"gid", 34}, {"additionalGids", json::array{5, 6}}};
  process["terminal"] = true;
  process["cwd"] = "/var/www";
  c["root"].as_object()["readonly"] = true;
  c["mounts"].as_array().push_back(json::object{{"destination", "/data"},
                                                {"type", "bind"},
                                                {"source", "/host/data"},
                                                {"options", json::array{"rbind", "ro", "rslave", "nosuid"}}});
  json::object& resources = c["linux"].as_object()["resources"].as_object();
  resources["memory"] = json::object{{"limit", 1000}, {"swap", 1500}};
  resources["cpu"] = json::object{{"shares", 1024}, {"quota", 50000}, {"period", 100000}};
  resources["pids"] = json::object{{"limit", 10}};
  expect_golden("layers_unified.txt",
                plan_text(c, kUnified, {.layers = {"/l/1", "/l/2"}, .work_dir = "/w", .death_signal = 9}));
}

TEST(LaunchPlan, WithoutNoNewPrivilegesTheFilterComesBeforeTheCapabilitiesGo) {
  json::object c = runtime::default_config();
  c["linux"].as_object()["seccomp"] = json::object{{"defaultAction", "SCMP_ACT_ALLOW"}};
  std::string text = plan_text(c, kHybrid, {.rootfs = "/b"});
  EXPECT_LT(text.find("\nseccomp\n"), text.find("\nuser 0:0\n"));
  c["process"].as_object()["noNewPrivileges"] = true;
  text = plan_text(c, kHybrid, {.rootfs = "/b"});
  EXPECT_GT(text.find("\nseccomp\n"), text.find("\nclose-fds 3\n"));
}

TEST(LaunchPlan, LinksCanBeBoundAndMadeAnew) {
  json::object c = runtime::default_config();
  json::array& mounts = c["mounts"].as_array();
  mounts.push_back(json::object{{"destination", "/d"},
                                {"type", "bind"},
                                {"source", "/x"},
                                {"options", json::array{"bind", "copy-symlink"}}});
  EXPECT_THAT(plan_text(c, kHybrid, {.rootfs = "/b"}), HasSubstr("/d copy-symlink\n"));
  mounts.back().as_object()["options"] = json::array{"bind", "src-nofollow", "dest-nofollow"};
  EXPECT_THAT(plan_text(c, kHybrid, {.rootfs = "/b"}), HasSubstr("/d src-nofollow dest-nofollow\n"));
  for (const char* other : {"src-nofollow", "dest-nofollow"}) {
    mounts.back().as_object()["options"] = json::array{"bind", "copy-symlink", other};
    EXPECT_THAT(plan_text(c, kHybrid, {.rootfs = "/b"}),
                HasSubstr("mounts[7]: 'copy-symlink' can't be given beside"));
  }
}

TEST(LaunchPlan, GroupsThatAreKept) {
  json::object c = runtime::default_config();
  c["annotations"] = json::object{{"run.oci.keep_original_groups", "1"}};
  EXPECT_THAT(plan_text(c, kHybrid, {.rootfs = "/b"}), HasSubstr("user 0:0 groups kept\n"));
}

TEST(LaunchPlan, MountOptionsThatCanNotBeHonouredAreNamed) {
  json::object c = runtime::default_config();
  json::object mount{{"destination", "/d"},
                     {"type", "bind"},
                     {"source", "/x"},
                     {"options", json::array{"bind", "tmpcopyup"}}};
  json::array& mounts = c["mounts"].as_array();
  mounts.push_back(mount);
  EXPECT_THAT(plan_text(c, kHybrid, {.rootfs = "/b"}),
              HasSubstr("mounts[7]: 'tmpcopyup' is for tmpfs alone"));
  mounts.back().as_object()["options"] = json::array{"bind", "idmap"};
  EXPECT_THAT(plan_text(c, kHybrid, {.rootfs = "/b"}),
              HasSubstr("mounts[7]: 'idmap' without mappings needs a user namespace"));
  mounts.back().as_object()["type"] = "tmpfs";
  mounts.back().as_object()["options"] = json::array{"ridmap"};
  EXPECT_THAT(plan_text(c, kHybrid, {.rootfs = "/b"}),
              HasSubstr("mounts[7]: id-mapped mounts must be bind mounts"));
}

json::object with_user_namespace() {
  json::object c = runtime::default_config();
  json::object& process = c["process"].as_object();
  process["oomScoreAdj"] = 5;
  process["rlimits"] = json::array{json::object{{"type", "RLIMIT_NOFILE"}, {"soft", 10}, {"hard", 20}}};
  json::object& linux_part = c["linux"].as_object();
  for (const char* type : {"user", "time"})
    linux_part["namespaces"].as_array().push_back(json::object{{"type", type}});
  json::array map{json::object{{"containerID", 0}, {"hostID", 100000}, {"size", 65536}}};
  linux_part["uidMappings"] = map;
  linux_part["gidMappings"] = map;
  return c;
}

// What the child has no rights to is the parent's: maps, limits, and the sources of mounts.
TEST(LaunchPlan, AUserNamespaceWithIdMappedMounts) {
  json::object c = with_user_namespace();
  json::object& linux_part = c["linux"].as_object();
  linux_part["timeOffsets"] = json::object{{"boottime", json::object{{"secs", 7}, {"nanosecs", 5}}}};
  linux_part["netDevices"] = json::object{{"eth7", json::object{{"name", "lan0"}}}};
  linux_part["personality"] = json::object{{"domain", "LINUX32"}};
  linux_part["memoryPolicy"] =
      json::object{{"mode", "MPOL_BIND"}, {"nodes", "0"}, {"flags", json::array{"MPOL_F_STATIC_NODES"}}};
  json::object& process = c["process"].as_object();
  process["scheduler"] = json::object{{"policy", "SCHED_BATCH"}, {"nice", 3}};
  process["ioPriority"] = json::object{{"class", "IOPRIO_CLASS_BE"}, {"priority", 4}};
  json::array own{json::object{{"containerID", 0}, {"hostID", 7}, {"size", 1}}};
  json::array& mounts = c["mounts"].as_array();
  mounts.push_back(json::object{{"destination", "/own"},
                                {"type", "bind"},
                                {"source", "/x"},
                                {"uidMappings", own},
                                {"gidMappings", own},
                                {"options", json::array{"rbind", "rro", "ridmap"}}});
  mounts.push_back(json::object{{"destination", "/theirs"},
                                {"type", "bind"},
                                {"source", "/y"},
                                {"options", json::array{"bind", "idmap"}}});
  mounts.push_back(
      json::object{{"destination", "/run"}, {"type", "tmpfs"}, {"options", json::array{"tmpcopyup", "ro"}}});
  expect_golden("user_namespace.txt", plan_text(c, kHybrid, {.rootfs = "/b/rootfs"}));
}

TEST(LaunchPlan, ASourceThatAnEarlierMountMakesIsOpenedInside) {
  json::object c = with_user_namespace();
  json::array& mounts = c["mounts"].as_array();
  auto bind = [&](const char* source, const char* destination) {
    mounts.push_back(json::object{{"destination", destination},
                                  {"type", "bind"},
                                  {"source", source},
                                  {"options", json::array{"bind"}}});
  };
  bind("/b/made/here", "/early");  // nothing is mounted there yet
  mounts.push_back(json::object{{"destination", "/made"}, {"type", "tmpfs"}});
  bind("/b/made/here", "/late");
  bind("/b/madeira", "/other");
  std::string text = plan_text(c, kHybrid, {.rootfs = "/b"});
  EXPECT_THAT(text, HasSubstr("\nbind /b/made/here on /early from-parent\n"));
  EXPECT_THAT(text, HasSubstr("\nbind container:/made/here on /late\n"));
  EXPECT_THAT(text, HasSubstr("\nbind /b/madeira on /other from-parent\n"));
}

TEST(LaunchPlan, AnOrdinaryUserOpensItsSourcesInside) {
  json::object c = with_user_namespace();
  std::string text = plan_text(
      c, kHybrid,
      {.rootfs = "/b", .privileged = false, .uid_map_by_program = true, .gid_map_by_program = true});
  EXPECT_THAT(text,
              HasSubstr("parent: id-maps (0 100000 65536) by newuidmap (0 100000 65536) by newgidmap\n"));
  EXPECT_THAT(text, HasSubstr("\nroot bind /b on /\n"));
}

TEST(LaunchPlan, AListenerIsGivenAwayBeforeTheWait) {
  json::object c = runtime::default_config();
  c["process"].as_object()["noNewPrivileges"] = true;
  c["linux"].as_object()["seccomp"] = json::object{{"defaultAction", "SCMP_ACT_ALLOW"}};
  std::string text = plan_text(c, kHybrid, {.rootfs = "/b", .wait_start = true, .filter_listener = true});
  EXPECT_LT(text.find("\nseccomp, listener to parent\n"), text.find("\nwait-start\n"));
}

TEST(LaunchPlan, LimitsWithoutTheirHierarchyAreErrors) {
  json::object c = runtime::default_config();
  c["linux"].as_object()["resources"].as_object()["hugepageLimits"] =
      json::array{json::object{{"pageSize", "2MB"}, {"limit", 0}}};
  EXPECT_THAT(plan_text(c, kHybrid, {.rootfs = "/b"}),
              HasSubstr("no cgroup hierarchy has the controller 'hugetlb'"));
}

TEST(CgroupLayout, Modes) {
  EXPECT_STREQ(runtime::parse_cgroup_layout(kHybrid).mode(), "hybrid");
  EXPECT_STREQ(runtime::parse_cgroup_layout(kUnified).mode(), "v2");
  EXPECT_STREQ(runtime::parse_cgroup_layout("1 2 0:1 / /c/cpu rw - cgroup cgroup rw,cpu\n").mode(), "v1");
  EXPECT_EQ(runtime::parse_cgroup_layout(kHybrid).find("cpuacct")->mount, "/sys/fs/cgroup/cpu,cpuacct");
}

TEST(CgroupLayout, TheUsualPlacesOfWhatProcSelfCgroupNames) {
  auto hybrid = runtime::usual_cgroup_layout("3:memory:/a\n2:cpu,cpuacct:/a\n1:name=systemd:/\n0::/a\n");
  ASSERT_EQ(hybrid.v1.size(), 3u);
  EXPECT_EQ(hybrid.v1[0].mount, "/sys/fs/cgroup/systemd");
  EXPECT_EQ(hybrid.find("name=systemd"), &hybrid.v1[0]);
  EXPECT_EQ(hybrid.find("cpuacct")->mount, "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_EQ(hybrid.find("memory")->mount, "/sys/fs/cgroup/memory");
  EXPECT_EQ(hybrid.unified, "/sys/fs/cgroup/unified");
  auto unified = runtime::usual_cgroup_layout("0::/user.slice\n");
  EXPECT_TRUE(unified.pure_v2());
  EXPECT_EQ(unified.unified, "/sys/fs/cgroup");
  EXPECT_STREQ(runtime::usual_cgroup_layout("1:cpu:/\n").mode(), "v1");
  for (const char* broken : {"", "\n", ":", "1", "1:", "::", "1:cpu"}) runtime::usual_cgroup_layout(broken);
}

TEST(Seccomp, TheDefaultProfileCompiles) {
  auto filter = runtime::compile_seccomp(runtime::default_seccomp(runtime::default_capabilities()));
  ASSERT_TRUE(filter.ok()) << filter.error().message();
  EXPECT_GT((*filter)->size(), 300u);
  auto wrong = runtime::compile_seccomp(json::object{{"defaultAction", "SCMP_ACT_DANCE"}});
  EXPECT_THAT(wrong.error().message(), HasSubstr("linux.seccomp.defaultAction"));
}

}  // namespace
