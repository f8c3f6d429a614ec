// Every target over its corpus, and over seeded mutations of it: bytes changed, pieces cut, doubled,
// joined. SAMPAN_FUZZ_SEED and SAMPAN_FUZZ_ROUNDS repeat or lengthen a run.
#include <gtest/gtest.h>

#include <unistd.h>

#include <csignal>
#include <random>

#include "base/sys.h"
#include "tests/fuzz/targets.h"

namespace fuzz {
namespace {

class Replay : public ::testing::TestWithParam<Target> {
 protected:
  // An input that crashes or takes more than half a minute is printed before the end.
  static void SetUpTestSuite() {
    std::signal(SIGSEGV, [](int) { check(false, "crash"); });
    std::signal(SIGALRM, [](int) { check(false, "no end"); });
  }
  void TearDown() override { ::alarm(0); }
  void run_one(std::string_view input) {
    ::alarm(30);
    run(GetParam(), input);
  }
  std::vector<std::string> corpus() {
    std::string directory = std::string(SAMPAN_SOURCE_DIR) + "/tests/fuzz/" + GetParam().name;
    std::vector<std::string> all;
    auto names = base::sys::list_dir(directory);
    EXPECT_TRUE(names.ok()) << directory;
    if (names.ok())
      for (const auto& name : *names) all.push_back(base::sys::read_file(directory + "/" + name).value());
    EXPECT_FALSE(all.empty()) << directory;
    return all;
  }
  static unsigned setting(const char* name, unsigned fallback) {
    const char* text = std::getenv(name);
    return text ? static_cast<unsigned>(std::atoi(text)) : fallback;
  }
};

TEST_P(Replay, Corpus) {
  for (const std::string& input : corpus()) {
    run_one(input);
    for (size_t n : {size_t{0}, size_t{1}, input.size() / 2, input.size() - (input.empty() ? 0 : 1)})
      run_one(input.substr(0, n));
  }
}

TEST_P(Replay, Mutations) {
  unsigned seed = setting("SAMPAN_FUZZ_SEED", std::random_device()()),
           rounds = setting("SAMPAN_FUZZ_ROUNDS", 300);
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  auto below = [&](size_t n) { return n == 0 ? 0 : static_cast<size_t>(random() % n); };
  std::vector<std::string> all = corpus();
  for (unsigned i = 0; i < rounds && !all.empty(); ++i) {
    std::string input = all[below(all.size())];
    for (size_t changes = 1 + below(4); changes > 0; --changes) {
      size_t at = below(input.size() + 1), size = below(16);
      switch (below(5)) {
        case 0:
          if (at < input.size()) input[at] = static_cast<char>(random());
          break;
        case 1: input.erase(std::min(at, input.size()), size); break;
        case 2: input.insert(at, input.substr(below(input.size()), size)); break;
        case 3: input.insert(at, 1, static_cast<char>(random())); break;
        default: {
          const std::string& other = all[below(all.size())];
          input = input.substr(0, at) + other.substr(below(other.size()));
        }
      }
    }
    SCOPED_TRACE(i);
    run_one(input);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Replay, ::testing::ValuesIn(targets()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace fuzz
