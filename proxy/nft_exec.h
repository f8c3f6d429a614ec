// Our table in the kernel: loads the skeleton with the `nft` program, reads the elements back and
// changes them by netlink messages of its own, each batch of actions in one transaction: all of it
// or nothing. Works in the network namespace of the thread that calls it. Never touches another table.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "proxy/policy_plan.h"
#include "proxy/skeleton.h"
#include "proxy/table.h"

namespace proxy {

struct Transaction;

class Nftables {
 public:
  explicit Nftables(SkeletonConfig config) : config_(std::move(config)) {}
  base::Status open();

  // Whether the table is there with exactly our rules.
  base::Result<bool> has_skeleton();
  base::Status load_skeleton();                // replaces the table
  base::Status load(const std::string& text);  // by the nft program; text of our table alone
  // What is encoded below. An error names the part that the kernel refused by `name`.
  base::Status send(const Transaction& transaction, const std::function<std::string(size_t)>& name);

  // All classes and elements; kConflict when somebody changed rules meanwhile too often.
  base::Result<Observed> observe();
  // One transaction. With `generation` (of observe()) it is refused as kConflict when any rule of
  // the namespace changed since. An error names the action that the kernel refused.
  base::Status act(const std::vector<Action>& actions, uint32_t generation = 0);
  uint32_t observed_generation() const { return observed_generation_; }

  // Forgets which client was sent where, where `is_valid` says that it must not be any more.
  base::Status purge_affinity(const std::function<bool(const Key&, Ip, uint16_t)>& is_valid);
  base::Status remove_table();  // absent is fine

  // Somebody else's changes of our table: readable when there may be some; our own are not among
  // them. kRules: the skeleton can't be trusted any more.
  enum class Interference { kNone, kElements, kRules };
  int watch_fd() const { return watch_.get(); }
  Interference read_interference();

 private:
  base::Result<uint32_t> generation();
  base::Result<std::vector<std::string>> chains();
  base::Status dump(uint8_t message, const std::string& set,
                    const std::function<void(const char* attributes, size_t size)>& each);

  // Deaf to notifications while it lives, because they would be our own; what others did in the
  // meantime shows in the generation, which every transaction raises by one.
  class Deaf;

  SkeletonConfig config_;
  base::UniqueFd fd_, watch_;
  uint32_t observed_generation_ = 0;
  bool missed_ = false;
};

// The bytes of one transaction, and which action each part of it is; for act() and its tests.
struct Transaction {
  std::string bytes;
  struct Part {
    size_t begin;  // offset of the element or message in bytes
    size_t action;
  };
  std::vector<Part> parts;
  std::vector<size_t> messages;  // offset of each message, by sequence number - 1
};
Transaction encode(const std::string& table, const std::vector<Action>& actions, uint32_t generation);
Transaction encode(const std::string& table, const std::vector<PolicyAction>& actions);

}  // namespace proxy
