// Records survive JSON; states read as people know them; policies decide; networks are text.
#include "cli/container_record.h"

#include <gmock/gmock.h>

#include "cli/container_network.h"
#include "cli/template.h"

namespace cli {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

Record record() {
  Record r;
  r.id = std::string(64, 'a');
  r.name = "web";
  r.hostname = "box";
  r.config = base::json::object{{"process", base::json::object{{"args", base::json::array{"a", "b"}}}}};
  r.ports = {{"", 8080, 80, "tcp"}, {"127.0.0.1", 53, 53, "udp"}};
  r.labels = {{"k", "v"}};
  r.sysctls = {{"net.ipv4.ip_forward", "1"}};
  r.restart = {"on-failure", 3};
  r.hosts = {"db:10.0.0.9", "host:host-gateway"};
  return r;
}

TEST(ContainerRecord, SurvivesJson) {
  auto again = decode_record(encode(record()));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(base::to_json(encode(*again)), base::to_json(encode(record())));
  EXPECT_EQ(again->command(), (std::vector<std::string>{"a", "b"}));
  State s;
  s.phase = State::Phase::kExited;
  s.exit_code = 3;
  s.restarts = 2;
  s.restart_streak = 1;
  s.address = "10.87.0.2";
  s.stop_requested = s.oom_killed = true;
  EXPECT_EQ(base::to_json(encode(decode_state(encode(s)))), base::to_json(encode(s)));
  EXPECT_FALSE(decode_record(base::json::value(1)).ok());
}

TEST(ContainerRecord, Status) {
  base::Time now = base::Time(hours(500000));
  State s;
  EXPECT_EQ(status_text(s, now), "Created");
  s.phase = State::Phase::kRunning;
  s.started_at = now - minutes(3);
  EXPECT_EQ(status_text(s, now), "Up 3 minutes");
  s.phase = State::Phase::kPaused;
  EXPECT_EQ(status_text(s, now), "Up 3 minutes (Paused)");
  s.phase = State::Phase::kExited;
  s.exit_code = 1;
  s.finished_at = now - hours(2);
  EXPECT_EQ(status_text(s, now), "Exited (1) 2 hours ago");
  EXPECT_EQ(ago_text(seconds(0)), "Less than a second");
  EXPECT_EQ(ago_text(seconds(61)), "About a minute");
  EXPECT_EQ(ago_text(minutes(60)), "About an hour");
  EXPECT_EQ(ago_text(hours(24 * 20)), "2 weeks");
}

TEST(ContainerRecord, RestartPolicies) {
  State s;
  s.exit_code = 1;
  EXPECT_FALSE(restarts({"no", 0}, s));
  EXPECT_TRUE(restarts({"always", 0}, s));
  EXPECT_TRUE(restarts({"on-failure", 3}, s));
  s.restarts = 3;
  EXPECT_FALSE(restarts({"on-failure", 3}, s));
  s.exit_code = 0;
  EXPECT_FALSE(restarts({"on-failure", 0}, s));
  s.stop_requested = true;
  EXPECT_FALSE(restarts({"always", 0}, s));
  EXPECT_EQ(restart_delay(0), std::chrono::milliseconds(100));
  EXPECT_EQ(restart_delay(3), std::chrono::milliseconds(800));
  EXPECT_EQ(restart_delay(1000), minutes(1));
}

TEST(ContainerNetwork, PortsAsElements) {
  Places places;
  places.bridge = "br-0";
  EXPECT_EQ(places.table(), "sampan_br_0");
  EXPECT_EQ(nft_ports(places, record().ports, "10.87.0.2", true),
            "create element ip sampan_br_0 published { tcp . 8080 : 10.87.0.2 . 80 }\n"
            "create element ip sampan_br_0 published_at { 127.0.0.1 . udp . 53 : 10.87.0.2 . 53 }\n");
  EXPECT_THAT(nft_table(places), testing::HasSubstr("iifname \"br-0\" ip daddr 127.0.0.0/8 drop"));
}

TEST(ContainerNetwork, Files) {
  Record r = record();
  EXPECT_EQ(resolv_conf("# x\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch a b\noptions edns0\n", r),
            "search a b\noptions edns0\nnameserver 10.0.0.1\n");
  r.dns = {"9.9.9.9"};
  r.dns_search = {"."};
  r.dns_options = {"ndots:2"};
  EXPECT_EQ(resolv_conf("nameserver 10.0.0.1\nsearch a\n", r), "nameserver 9.9.9.9\noptions ndots:2\n");
  EXPECT_EQ(hosts_file(r, "10.87.0.2", "10.87.0.1"),
            "10.0.0.9\tdb\n10.87.0.1\thost\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
            "10.87.0.1\thost.containers.internal host.docker.internal\n10.87.0.2\tbox web\n");
}

TEST(Template, RowsAndValues) {
  std::vector<std::map<std::string, std::string>> rows = {{{"ID", "1"}, {"Names", "a"}},
                                                          {{"ID", "22"}, {"Names", "b"}}};
  EXPECT_EQ(*format_rows("{{.ID}}-{{ .Names }}", rows, {}, true), "1-a\n22-b\n");
  EXPECT_EQ(*format_rows("table {{.ID}}\t{{.Names}}", rows, {{"ID", "CONTAINER ID"}}, true),
            "CONTAINER ID  NAMES\n1             a\n22            b\n");
  EXPECT_EQ(*format_rows("{{json .ID}}\\t", {rows[0]}, {}, true), "\"1\"\t\n");
  EXPECT_FALSE(format_rows("{{.Nope}}", rows, {}, true).ok());
  EXPECT_FALSE(format_rows("{{range .}}", rows, {}, true).ok());
  EXPECT_FALSE(format_rows("{{.ID", rows, {}, true).ok());
  base::json::value value =
      base::json::object{{"State", base::json::object{{"ExitCode", 3}, {"Status", "exited"}}}};
  EXPECT_EQ(*format_value("{{.State.Status}} {{.State.ExitCode}} {{json .State}}", value),
            "exited 3 {\"ExitCode\":3,\"Status\":\"exited\"}");
}

}  // namespace
}  // namespace cli
