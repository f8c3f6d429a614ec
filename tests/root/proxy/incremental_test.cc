// Any sequence of changes, applied to the kernel step by step, leaves the table that the final
// state alone leaves: compared by `nft -j list table`.
#include <random>

#include "base/json.h"
#include "proxy/nft_exec.h"
#include "tests/root/proxy/network.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy {
namespace {

// Without handles, and with elements in a fixed order. Endpoint maps that are empty and their
// classes are left out: they stay for the next Service of that size.
std::string normal(const std::string& listing) {
  auto parsed = base::parse_json(listing);
  SAMPAN_CHECK(parsed.ok());
  std::set<std::string> lines, empty;
  auto items = base::find(*parsed, "nftables")->get_array();
  for (auto& item : items) {
    for (auto& [kind, body] : item.get_object()) {
      if (kind == "metainfo" || !body.is_object()) continue;
      auto& object = body.get_object();
      object.erase("handle");
      if (auto* elements = object.if_contains("elem"); elements && elements->is_array()) {
        std::set<std::string> sorted;
        for (auto& element : elements->get_array()) sorted.insert(base::to_json(element));
        base::json::array in_order;
        for (const auto& element : sorted) in_order.emplace_back(element);
        object["elem"] = in_order;
      } else if (std::string name(base::string_at(body, "name")); name.starts_with("ep_")) {
        empty.insert(name);
        continue;
      }
      lines.insert(std::string(kind) + " " + base::to_json(body));
    }
  }
  std::string out;
  for (const std::string& line : lines) {
    if (line.find("\"class_") != std::string::npos && !line.starts_with("map")) continue;
    out += line + "\n";
  }
  return out;
}

TEST(Incremental, KernelEqualsFromNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "skip: root";
  const SkeletonConfig config{"sampan", "10.244.0.0/16", "10.96.0.0/16", "10.96.0.10"};
  uint32_t first = 1, last = 6;
  for (uint32_t seed = first; seed <= last; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    auto pick = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
    SAMPAN_CHECK(::unshare(CLONE_NEWNET) == 0);
    Nftables nft(config);
    must(nft.open());
    must(nft.load_skeleton());
    Table table;
    std::map<std::string, Elements> state;
    for (int round = 0; round < 40; ++round) {
      std::vector<Action> batch;
      for (int change = pick(4); change >= 0; --change) {
        std::string name = "s" + std::to_string(pick(8));
        Service s = service(name + " 10.96.0." + std::to_string(name[1]) + " a:80/tcp:30080 b:53/udp");
        if (pick(2)) s.external_ips = {"203.0.113." + std::to_string(pick(3))};
        s.external_local = pick(3) == 0;
        s.affinity_seconds = pick(4) == 0 ? 30 : 0;
        std::string line = "x " + name + " a:8080/tcp b:53/udp |";
        for (int e = pick(5); e > 0; --e) line += fmt::format(" 10.244.{}.{}@n1", pick(2), pick(20));
        EndpointSlice one = slice(line);
        state[name] = pick(5) ? elements_of(s, {&one}, node_one()) : Elements();
        auto actions = table.set(name, state[name]);
        batch.insert(batch.end(), actions.begin(), actions.end());
      }
      must(nft.act(batch));
    }
    std::string incremental = run({"nft", "-j", "list", "table", "ip", "sampan"});
    auto observed = nft.observe();
    ASSERT_TRUE(observed.ok());
    EXPECT_EQ(text(table.reconcile(*observed)), "");

    Table fresh;
    std::vector<Action> all;
    for (const auto& [name, elements] : state) {
      auto actions = fresh.set(name, elements);
      all.insert(all.end(), actions.begin(), actions.end());
    }
    must(nft.load_skeleton());
    must(nft.act(all));
    EXPECT_EQ(normal(incremental), normal(run({"nft", "-j", "list", "table", "ip", "sampan"})));
    EXPECT_NE(normal(incremental).find("\"elem\":"), std::string::npos);
  }
}

}  // namespace
}  // namespace proxy
