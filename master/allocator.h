// ServiceAllocator: cluster IPs and node ports in use. Pure bookkeeping in memory; the Services
// in the store are the truth, and are read at start.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace master {

class ServiceAllocator {
 public:
  // cidr like "10.96.0.0/16"; `reserved` addresses are never given (DNS).
  ServiceAllocator(std::string_view cidr, std::string_view reserved);

  // Sets spec.clusterIP(s), spec.ports[].nodePort where the Service's type wants them and they are
  // absent, and takes what is given. kInvalid names the field in `subject`, kExhausted when nothing
  // is free. `before` is the stored Service or null: what it has stays taken, and is kept when
  // `service` leaves it out.
  base::Status allocate(base::json::value& service, const base::json::value& before);
  void take(const base::json::value& service);     // a stored Service, at start
  // What `before` had and `after` has no more; null for no Service.
  void release_difference(const base::json::value& before, const base::json::value& after);
  std::string first_address() const;               // of the Service "kubernetes"

 private:
  std::optional<uint32_t> free_address();
  std::optional<int> free_port();

  uint32_t base_ = 0, size_ = 0;
  uint32_t next_ = 0;
  int next_port_ = 30000;
  std::set<uint32_t> addresses_;
  std::set<int> ports_;
};

}  // namespace master
