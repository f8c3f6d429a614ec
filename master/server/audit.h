// The audit log: which requests a policy (audit.k8s.io/v1 Policy) wants recorded, their events
// (audit.k8s.io/v1 Event, one JSON line each), and the file they go to. Policy and events are pure; the
// log gathers what a turn of the loop wrote into one append, and rotates by size, age and count.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/loop.h"
#include "master/registry/request.h"

namespace master {

enum class AuditLevel : uint8_t { kNone, kMetadata, kRequest, kRequestResponse };

class AuditPolicy {
 public:
  struct Decision {
    AuditLevel level = AuditLevel::kNone;
    std::vector<std::string> omit_stages;
    bool omit_managed_fields = false;
    bool omits(std::string_view stage) const;
  };
  static base::Result<AuditPolicy> parse(std::string_view yaml);
  Decision decide(const RequestInfo& request) const;  // the first rule that matches

 private:
  base::json::value policy_;
};

// What is known of one audited request; grows from stage to stage.
struct AuditedRequest {
  AuditPolicy::Decision decision;
  std::string id;  // Audit-ID
  base::Time received;
  int code = 0;          // of the answer; 0: none yet
  std::string response;  // its body at kRequestResponse, or where it is a Status
};
constexpr std::string_view kRequestReceived = "RequestReceived", kResponseStarted = "ResponseStarted",
                           kResponseComplete = "ResponseComplete";
std::string audit_event(std::string_view stage, const RequestInfo& request, const AuditedRequest& audited,
                        base::Time now);

class AuditLog {
 public:
  struct Options {
    std::string path;      // "-": standard output, never rotated
    int max_age_days = 0;  // of rotated files; 0: any
    int max_backups = 0;   // rotated files kept; 0: all
    int64_t max_size_bytes = 100 << 20;
  };
  static base::Result<std::unique_ptr<AuditLog>> open(base::Loop& loop, Options options);
  ~AuditLog();  // writes what is gathered
  void append(std::string line);
  uint64_t events() const { return events_; }
  uint64_t errors() const { return errors_; }  // lines that could not be written

 private:
  AuditLog(base::Loop& loop, Options options) : loop_(loop), options_(std::move(options)) {}
  base::Status reopen();
  void write();
  void rotate();
  void remove_old();

  base::Loop& loop_;
  Options options_;
  base::UniqueFd fd_;
  int64_t size_ = 0;
  std::string gathered_;
  bool posted_ = false;
  uint64_t events_ = 0, errors_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace master
