// From flags to a plan: text out, exactly.
#include "cli/run_plan.h"

#include <gmock/gmock.h>

namespace cli {
namespace {

using testing::HasSubstr;
using testing::Not;

PlanFacts facts() {
  PlanFacts out;
  out.id = std::string(60, 'a') + "bcde";
  out.name = "calm_keel";
  out.image.name = "docker.io/library/web:1";
  out.image.digest = "sha256:" + std::string(64, '1');
  out.image.layers = {"/images/layers/1/fs"};
  out.image.entrypoint = {"/entry"};
  out.image.cmd = {"serve"};
  out.image.env = {"PATH=/bin", "A=image"};
  out.image.stop_signal = "SIGQUIT";
  out.user.home = "/root";
  out.host_env = {"FROM=host"};
  out.cwd = "/home/me";
  out.container_dir = "/c/x";
  out.volumes_dir = "/v";
  out.anonymous_names = {"anon1", "anon2"};
  out.free_ports = {40001, 40002};
  out.all_capabilities = runtime::all_capabilities();
  out.cpus = 4;
  out.init_program = "/usr/bin/sampan-init";
  return out;
}
// As typed after `sampan run`.
std::string plan(const std::vector<std::string>& words, const PlanFacts& with = facts()) {
  CLI::App app;
  CLI::App* command = app.add_subcommand("run");
  RunOptions options;
  add_run_options(*command, options, true);
  std::vector<std::string> reversed(words.rbegin(), words.rend());
  reversed.push_back("run");
  app.parse(reversed);
  if (auto taken = take_operands(*command, "IMAGE", options.image, options.command); !taken.ok())
    return taken.error().message();
  auto record = plan_container(options, with);
  return record.ok() ? plan_text(*record) : record.error().message();
}
std::string line(const std::string& text, const std::string& key) {
  size_t at = ("\n" + text).find("\n" + key + " ");
  return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

TEST(RunPlan, PlainIsWhatEveryContainerGets) {
  std::string text = plan({"web"});
  EXPECT_THAT(
      text,
      testing::StartsWith(
          "container aaaaaaaaaaaa calm_keel\n"
          "image docker.io/library/web:1 1 layers\n"
          "network bridge hostname aaaaaaaaaaaa\n"
          "restart no 0\n"
          "stop SIGQUIT 10 s\n"
          "args [\"/entry\",\"serve\"]\n"
          "cwd \"/\"\n"
          "user {\"uid\":0,\"gid\":0,\"additionalGids\":[0]}\n"
          "env [\"PATH=/bin\",\"A=image\",\"HOSTNAME=aaaaaaaaaaaa\",\"HOME=/root\",\"container=sampan\"]\n"));
  EXPECT_THAT(text, HasSubstr("\nmount /etc/hosts bind /c/x/hosts [\"bind\",\"rprivate\",\"rw\"]\n"));
  EXPECT_EQ(line(text, "resources"),
            "resources {\"pids\":{\"limit\":2048},\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]}");
  EXPECT_EQ(line(text, "seccomp"), "seccomp yes");
  EXPECT_EQ(line(text, "masked"), "masked yes");
  EXPECT_EQ(line(text, "namespaces"),
            "namespaces [{\"type\":\"pid\"},{\"type\":\"mount\"},{\"type\":\"cgroup\"}]");
}

TEST(RunPlan, FlagsAsPeopleWriteThem) {
  std::string text = plan({"-it",          "--rm",
                           "-p",           "8080:80",
                           "-p",           "127.0.0.1:53:53/udp",
                           "-p",           "90",
                           "-v",           "./src:/dst:ro",
                           "-v",           "data:/data",
                           "-v",           "/anon",
                           "-m",           "256m",
                           "--cpus=1.5",   "--pids-limit",
                           "-1",           "-e",
                           "A=flag",       "-e",
                           "FROM",         "-e",
                           "NOTHERE",      "-w",
                           "/work",        "--name",
                           "ignored-here", "--read-only",
                           "--tmpfs",      "/run:size=1m",
                           "--label",      "a=b",
                           "--ulimit",     "nofile=10:20",
                           "web",          "sh",
                           "-c",           "echo -it"});
  EXPECT_EQ(line(text, "args"), "args [\"/entry\",\"sh\",\"-c\",\"echo -it\"]");
  EXPECT_THAT(text, HasSubstr("publish 0.0.0.0:8080->80/tcp\npublish 127.0.0.1:53->53/udp\npublish "
                              "0.0.0.0:40001->90/tcp\nlabel a=b\nremove terminal stdin restart no 0\n"));
  EXPECT_THAT(text, HasSubstr("mount /dst bind /home/me/./src [\"rbind\",\"ro\",\"rprivate\"]\n"));
  EXPECT_THAT(text, HasSubstr("mount /data bind /v/data [\"rbind\",\"rprivate\"]\n"));
  EXPECT_THAT(text, HasSubstr("mount /anon bind /v/anon1 [\"rbind\",\"rprivate\"]\n"));
  EXPECT_THAT(text, HasSubstr("mount /run tmpfs tmpfs [\"nosuid\",\"nodev\",\"noexec\",\"size=1m\"]\n"));
  EXPECT_THAT(line(text, "resources"),
              HasSubstr("\"memory\":{\"limit\":268435456},\"cpu\":{\"quota\":150000,\"period\":100000}"));
  EXPECT_THAT(line(text, "resources"), Not(HasSubstr("pids")));
  EXPECT_THAT(line(text, "env"), HasSubstr("\"A=flag\",\"FROM=host\""));
  EXPECT_THAT(line(text, "env"), Not(HasSubstr("NOTHERE")));
  EXPECT_THAT(line(text, "env"), HasSubstr("\"TERM=xterm\""));
  EXPECT_EQ(line(text, "rlimits"), "rlimits [{\"type\":\"RLIMIT_NOFILE\",\"soft\":10,\"hard\":20}]");
  EXPECT_EQ(line(text, "root"), "root readonly true");
}

TEST(RunPlan, EntrypointAndInit) {
  EXPECT_EQ(line(plan({"--entrypoint", "/x", "web"}), "args"), "args [\"/x\"]");
  EXPECT_EQ(line(plan({"--entrypoint", "[\"a\",\"b\"]", "web", "c"}), "args"), "args [\"a\",\"b\",\"c\"]");
  EXPECT_EQ(line(plan({"--entrypoint", "", "web", "c"}), "args"), "args [\"c\"]");
  std::string text = plan({"--init", "web"});
  EXPECT_EQ(line(text, "args"), "args [\"/dev/init\",\"--\",\"/entry\",\"serve\"]");
  EXPECT_THAT(
      text,
      HasSubstr(
          "mount /dev/init bind /usr/bin/sampan-init [\"bind\",\"rprivate\",\"ro\",\"nosuid\",\"nodev\"]\n"));
}

TEST(RunPlan, Capabilities) {
  EXPECT_EQ(line(plan({"--cap-drop=all", "--cap-add", "net_admin", "web"}), "capabilities"),
            "capabilities "
            "{\"bounding\":[\"CAP_NET_ADMIN\"],\"effective\":[\"CAP_NET_ADMIN\"],\"permitted\":[\"CAP_NET_"
            "ADMIN\"]}");
  PlanFacts other = facts();
  other.user.uid = 1000;
  // Another user has only what was asked for by name.
  EXPECT_THAT(line(plan({"-u", "1000", "--cap-add", "CAP_KILL", "web"}, other), "capabilities"),
              HasSubstr("\"effective\":[\"CAP_KILL\"],\"permitted\":[\"CAP_KILL\"],\"inheritable\":[\"CAP_"
                        "KILL\"],\"ambient\":[\"CAP_KILL\"]"));
  std::string text = plan({"--privileged", "web"});
  EXPECT_EQ(line(text, "seccomp"), "seccomp no");
  EXPECT_EQ(line(text, "masked"), "masked no");
  EXPECT_THAT(line(text, "resources"), HasSubstr("\"allow\":true"));
}

TEST(RunPlan, WhatIsWrongIsNamed) {
  const std::pair<std::vector<std::string>, const char*> kWrong[] = {
      {{}, "IMAGE is missing"},
      {{"--nosuch", "web"}, "--nosuch: unknown flag"},
      {{"-m", "x", "web"}, "x: sizes are"},
      {{"-m", "1k", "web"}, "at least 6m"},
      {{"--cpus", "9", "web"}, "from 0.01 to 4"},
      {{"-p", "80:http", "web"}, "ports are numbers"},
      {{"-p", "80:80/sctp", "web"}, "tcp or udp"},
      {{"-p", "1-3:1-2", "web"}, "same length"},
      {{"-p", "[::1]:80:80", "web"}, "IPv6"},
      {{"--network", "host", "-p", "80:80", "web"}, "bridge network only"},
      {{"--network", "mine", "web"}, "bridge, host and none"},
      {{"--network", "host", "--hostname", "x", "web"}, "host's"},
      {{"-v", "a/b:/c", "web"}, "begins with ./"},
      {{"-v", "/a:b", "web"}, "absolute path"},
      {{"-v", "/a:/b:what", "web"}, "unknown option 'what'"},
      {{"-v", "/a:/b", "-v", "/c:/b", "web"}, "two mounts"},
      {{"--cap-add", "FLY", "web"}, "unknown capability"},
      {{"--restart", "sometimes", "web"}, "the policies are"},
      {{"--rm", "--restart", "always", "web"}, "can't be started again"},
      {{"--stop-signal", "SIGNOT", "web"}, "no such signal"},
      {{"--ulimit", "what=1", "web"}, "nofile="},
      {{"--ulimit", "nofile=9:1", "web"}, "can't be above"},
      {{"--security-opt", "x", "web"}, "known are"},
      {{"--mount", "type=bind,source=a,target=/b", "web"}, "is a path"},
      {{"--sysctl", "x", "web"}, "NAME=VALUE"},
      {{"--tmpfs", "run", "web"}, "absolute path"},
      {{"-w", "rel", "web"}, "absolute path"},
      {{"--add-host", "x", "web"}, "NAME:ADDRESS"}};
  for (const auto& [words, message] : kWrong)
    EXPECT_THAT(plan(words), HasSubstr(message)) << testing::PrintToString(words);
}

TEST(RunPlan, SmallLanguages) {
  EXPECT_EQ(*parse_size("256m"), 256 << 20);
  EXPECT_EQ(*parse_size("1.5g"), 1610612736);
  EXPECT_EQ(*parse_size("2GiB"), 2ll << 30);
  EXPECT_EQ(*parse_size("10"), 10);
  EXPECT_EQ(*parse_size("-1"), -1);
  for (const char* bad : {"", "m", "1x", "1e3", "0x10", "1 m"}) EXPECT_FALSE(parse_size(bad).ok()) << bad;
  EXPECT_EQ(*parse_signal("SIGTERM"), 15);
  EXPECT_EQ(*parse_signal("hup"), 1);
  EXPECT_EQ(*parse_signal("9"), 9);
  EXPECT_TRUE(parse_signal("RTMIN+1").ok());
  EXPECT_FALSE(parse_signal("RTMIN+99").ok());
  EXPECT_EQ(*parse_detach_keys("ctrl-p,ctrl-q"), "\x10\x11");
  EXPECT_EQ(*parse_detach_keys("a,ctrl-@"), std::string("a\0", 2));
  EXPECT_FALSE(parse_detach_keys("ctrl-pp").ok());
  EXPECT_EQ(parse_env_file("# c\n\n A=1 2\nFROM\nGONE\nB=\n", {"FROM=host"}),
            (std::vector<std::string>{"A=1 2", "FROM=host", "B="}));
}

}  // namespace
}  // namespace cli
