// Nodes and Pods of the scheduler's tests as short texts.
#pragma once

#include <gtest/gtest.h>

#include <sstream>

#include "master/scheduler/schedule_plan.h"

namespace master::scheduler {

// "name zone=a disk=ssd": labels, with the host name's; 4 CPU, 8 GiB, 10 Pods.
inline std::string node_json(const std::string& words, const std::string& spec = "",
                             const std::string& status = "") {
  std::istringstream in(words);
  std::string name, labels;
  in >> name;
  labels = fmt::format(R"("kubernetes.io/hostname":"{}")", name);
  for (std::string word; in >> word;) {
    const size_t at = word.find('=');
    labels += fmt::format(R"(,"{}":"{}")", word.substr(0, at), word.substr(at + 1));
  }
  return fmt::format(
      R"({{"metadata":{{"name":"{}","labels":{{{}}}}},"spec":{{{}}},)"
      R"("status":{{"allocatable":{{"cpu":"4","memory":"8Gi","pods":"10","example.com/gpu":"2"}}{}}}}})",
      name, labels, spec, status);
}
inline Node text_node(const std::string& words, const std::string& spec = "",
                      const std::string& status = "") {
  return read_node(base::parse_json(node_json(words, spec, status)).value());
}
// Members of a Pod's spec, and its labels as "a=b c=d".
inline Ask text_ask(const std::string& spec, const std::string& labels = "app=web",
                    const std::string& ns = "default", const std::string& owner = "") {
  std::istringstream in(labels);
  json::object map;
  for (std::string word; in >> word;) map[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
  json::value pod = base::parse_json("{\"spec\":{" + spec + "}}").value();
  json::object metadata{{"namespace", ns}, {"name", "p"}, {"labels", map}};
  if (!owner.empty())
    metadata["ownerReferences"] = json::array{json::object{{"apiVersion", "apps/v1"},
                                                           {"kind", "ReplicaSet"},
                                                           {"name", "r"},
                                                           {"uid", owner},
                                                           {"controller", true}}};
  pod.as_object()["metadata"] = std::move(metadata);
  return read_ask(pod);
}
inline std::string cpu_spec(const char* cpu, int priority = 0) {
  return fmt::format(
      R"("priority":{},"containers":[{{"image":"i","resources":{{"requests":{{"cpu":"{}"}}}}}}])", priority,
      cpu);
}
inline void put(Picture& picture, const std::string& key, const std::string& node, const Ask& ask,
                int started_second = 0) {
  Placed placed;
  placed.ask = picture.share(ask);
  placed.node = node;
  placed.uid = "uid-" + key;
  placed.started = base::Time(std::chrono::seconds(started_second));
  picture.place(key, std::move(placed));
}
inline std::string decide(const Ask& ask, const Picture& picture, const Profile& profile = {}) {
  const Choice choice = choose(ask, "default/p", picture, profile);
  return choice.node.empty() ? choice.message : choice.node;
}
// What one rule says of each node: "a 70\nb refused: …\n", scores before their weight.
inline std::string rule_text(const char* name, const Ask& ask, const Picture& picture,
                             const Profile& profile = {}) {
  const Rule& one = *rule(name);
  const Question question{ask, picture, profile};
  auto filter = one.filter ? one.filter(question) : nullptr;
  std::vector<const Node*> left;
  std::map<std::string, std::string> lines;
  for (const auto& [node_name, node] : picture.nodes()) {
    Refusal refusal = filter ? filter->refuses(node) : Refusal{};
    if (!refusal) left.push_back(&node), lines[node_name] = "fits";
    else lines[node_name] = (refusal.for_good ? "refused for good:" : "refused:");
    for (const std::string& reason : refusal.reasons) lines[node_name] += " " + reason;
  }
  if (auto scorer = one.scorer ? one.scorer(question, left) : nullptr) {
    std::vector<int64_t> scores;
    for (const Node* node : left) scores.push_back(scorer->score(*node));
    scorer->normalise(left, scores);
    for (size_t i = 0; i < left.size(); ++i) lines[left[i]->name] = std::to_string(scores[i]);
  }
  std::string out;
  for (const auto& [node_name, line] : lines) out += node_name + " " + line + "\n";
  return out;
}

}  // namespace master::scheduler
