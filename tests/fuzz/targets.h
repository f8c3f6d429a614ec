// Fuzz targets: each takes any bytes and must neither crash, nor hang, nor break what it asserts. The
// corpora stand in tests/fuzz/<name>/. replay_test.cc runs them in normal runs, with seeded mutations;
// under the preset `fuzz`, libfuzzer.cc makes one libFuzzer program of each.
#pragma once

#include <string_view>
#include <vector>

namespace fuzz {

struct Target {
  const char* name;
  void (*run)(std::string_view input);
};
const std::vector<Target>& targets();

// What is wrong in a target's own eyes: prints the input and ends the process, as a sanitizer would.
void check(bool ok, const char* what);
void run(const Target& target, std::string_view input);

void http1(std::string_view input);
void http2(std::string_view input);
void json(std::string_view input);
void yaml(std::string_view input);
void protobuf(std::string_view input);
// Two documents, one behind the other with a zero byte between: the object and the patch.
void json_patch(std::string_view input);
void merge_patch(std::string_view input);
void strategic_patch(std::string_view input);
void apply_patch(std::string_view input);
// A CustomResourceDefinition and an object of its kind, parted like the patches.
void custom_kind(std::string_view input);
// A CEL expression over an object with one member of each kind.
void cel(std::string_view input);
// An expression that says how a Pod is changed, and what merging it into the Pod makes.
void mutation(std::string_view input);
void selector(std::string_view input);
void quantity(std::string_view input);

}  // namespace fuzz
