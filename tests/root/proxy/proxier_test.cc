// The proxy's loop over real rules: what a failed pass owes is done by the next.
#include "proxy/proxier.h"

#include <sys/resource.h>

#include "tests/root/proxy/network.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy {
namespace {

TEST(ProxierRoot, ConnectionsOfGoneEndpointsAreForgottenByALaterPass) {
  if (::geteuid() != 0) GTEST_SKIP() << "skip: root";
  Network net;
  std::vector<Host> pods;
  for (const char* ip : {"10.244.0.5", "10.244.0.6"}) pods.push_back(net.pod(ip));
  Host client = net.pod("10.244.0.20", 9);
  base::Loop loop;
  Nftables nft({"sampan", "10.244.0.0/16", "10.96.0.0/16", "10.96.0.10"});
  must(nft.open());
  Proxier proxier(loop, nft, "n1");
  auto until = [&](const std::function<bool()>& done) {
    for (int i = 0; i < 2000 && !done(); ++i) loop.run_once(std::chrono::milliseconds(5));
    ASSERT_TRUE(done());
  };
  proxier.set_service(service("web 10.96.0.5 dns:53/udp"));
  proxier.set_slice(slice("s web dns:8080/udp | 10.244.0.5@n1"));
  proxier.start();
  until([&] { return proxier.converged(); });
  auto fd = udp_client(client, "10.96.0.5", 53);
  ASSERT_EQ(send_udp(fd.get(), pods).who, 0);

  // The rules change, and then there is no descriptor left to look through the connections.
  rlimit limit{}, low{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  low = {3, limit.rlim_max};
  uint64_t failures = proxier.counters().failures;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  proxier.set_slice(slice("s web dns:8080/udp | 10.244.0.6@n1"));
  until([&] { return proxier.counters().failures > failures; });
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(proxier.counters().stale_udp, 0u);
  until([&] { return proxier.converged(); });
  EXPECT_EQ(proxier.counters().stale_udp, 1u);
  EXPECT_EQ(send_udp(fd.get(), pods).who, 1);
}

TEST(ProxierRoot, NobodyIsWhereTheApiServerIs) {
  if (::geteuid() != 0) GTEST_SKIP() << "skip: root";
  Network net;
  base::Loop loop;
  Nftables nft({"sampan", "10.244.0.0/16", "10.96.0.0/16", "10.96.0.10"});
  must(nft.open());
  Proxier proxier(loop, nft, "n1",
                  {base::Cidr::parse_v4("10.96.0.0/16"),
                   base::Cidr::parse_v4("10.244.0.0/16"),
                   *base::Ip::parse_v4("10.96.0.10"),
                   {}});
  auto until = [&](const std::string& text, bool there) {
    auto done = [&] {
      return (run({"nft", "list", "map", "ip", "sampan", "services"}).find(text) != std::string::npos) ==
             there;
    };
    for (int i = 0; i < 400 && !(proxier.converged() && done()); ++i)
      loop.run_once(std::chrono::milliseconds(5));
    EXPECT_TRUE(done()) << text;
  };
  Service thief = service("thief 10.96.0.9 http:443/tcp");
  thief.external_ips = {"198.51.100.9"};
  proxier.set_service(thief);
  proxier.set_slice(slice("x thief http:8080/tcp | 10.244.0.5@n1"));
  Service stored = service("stored 10.96.0.1 https:443/tcp");  // from before the address was given by name
  proxier.set_service(stored);
  proxier.set_slice(slice("y stored https:8443/tcp | 10.244.0.5@n1"));
  proxier.start();
  until("198.51.100.9 . tcp . 443", true);
  until("10.96.0.1 . tcp . 443", false);
  proxier.set_service(service("kubernetes 10.96.0.1 https:443/tcp"));
  proxier.set_slice(slice("k kubernetes https:6443/tcp | 198.51.100.9@"));
  until("10.96.0.1 . tcp . 443", true);
  until("198.51.100.9 . tcp . 443", false);  // the API server's own address, now that it is known
}

}  // namespace
}  // namespace proxy
