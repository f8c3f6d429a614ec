// Any sequence of changes gives the table that the final state alone gives.
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/proxy/fixture.h"

namespace proxy {
namespace {

std::string dump(const Elements& elements) {
  std::string out;
  for (const auto& [element, value] : elements) out += element.text() + " : " + value.text() + "\n";
  return out;
}

TEST(TableProperty, IncrementalEqualsFromNothing) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    auto pick = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
    std::map<std::string, Elements> state;
    Table table;
    Elements kernel;  // what a kernel that obeys the actions holds
    std::set<Class> classes;
    for (int step = 0; step < 60; ++step) {
      std::string name = "s" + std::to_string(pick(5));
      Elements wanted;
      if (pick(4)) {
        Service s = service(name + " 10.96.0." + std::to_string(name[1]) + " a:80/tcp:30080 b:53/udp");
        if (pick(2)) s.external_ips = {"203.0.113." + std::to_string(pick(3))};  // shared on purpose
        s.external_local = pick(3) == 0;
        s.internal_local = pick(4) == 0;
        s.affinity_seconds = pick(4) == 0 ? 30 : 0;
        std::string line = "x " + name + " a:8080/tcp b:53/udp |";
        for (int e = pick(4); e > 0; --e) {
          int node = pick(2);
          line += fmt::format(
              " 10.244.{}.{}@n{}{}", node, pick(6), node + 1,
              std::vector<const char*>{"", "", ",terminating", ",unready"}[static_cast<size_t>(pick(4))]);
        }
        EndpointSlice one = slice(line);
        wanted = elements_of(s, {&one}, node_one());
      }
      state[name] = wanted;
      for (const Action& action : table.set(name, wanted)) {
        bool valid = true;  // the kernel refuses what is there already, and what is not
        if (action.kind == Action::Kind::kDelete) valid = kernel.erase(action.element) == 1;
        if (action.kind == Action::Kind::kAdd) valid = kernel.emplace(action.element, action.value).second;
        if (action.kind == Action::Kind::kAddClass) valid = classes.insert(action.add).second;
        ASSERT_TRUE(valid) << action.text();
      }
      Table fresh;
      for (auto it = state.rbegin(); it != state.rend(); ++it) (void)fresh.set(it->first, it->second);
      ASSERT_EQ(dump(kernel), dump(fresh.elements()));
      ASSERT_EQ(dump(table.elements()), dump(fresh.elements()));
    }
  }
}

}  // namespace
}  // namespace proxy
