// grpc.health.v1.Health/Check, without TLS, as gRPC's "insecure" credentials do. Words and judgement as the
// kubelet's (pkg/probe/grpc).
#include "base/grpc/channel.h"
#include "kubelet/pod/net_check.h"

namespace kubelet {

namespace {

namespace grpc = base::grpc;

std::string whole_seconds(base::Duration time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) + "s";
}
void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
std::optional<uint64_t> take_varint(std::string_view& in) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return value;
  }
  return std::nullopt;
}
// HealthCheckResponse.status (field 1, an enum); absent is 0. Nothing: not a message.
std::optional<uint64_t> status_of(std::string_view in) {
  uint64_t status = 0;
  while (!in.empty()) {
    auto tag = take_varint(in);
    if (!tag) return std::nullopt;
    std::optional<uint64_t> skip;
    switch (*tag & 7) {
      case 0: {
        auto value = take_varint(in);
        if (!value) return std::nullopt;
        if (*tag >> 3 == 1) status = *value;
        continue;
      }
      case 1: skip = 8; break;
      case 2: skip = take_varint(in); break;
      case 5: skip = 4; break;
      default: return std::nullopt;
    }
    if (!skip || *skip > in.size()) return std::nullopt;
    in.remove_prefix(*skip);
  }
  return status;
}

class GrpcAttempt final : public NetAttempt {
 public:
  GrpcAttempt(base::Loop& loop, const NetTarget& target, std::string address, base::Duration timeout,
              NetDone done)
      : where_(host_port(target.host, target.port)), timeout_(timeout), done_(std::move(done)),
        channel_(loop, {.host = address,
                        .port = target.port,
                        .authority = where_,
                        .user_agent = "kube-probe/1.36 grpc-c/sampan",
                        .max_reply_bytes = 64 << 10}) {
    std::string message;
    if (!target.service.empty()) {
      message += '\x0a';
      put_varint(message, target.service.size());
      message += target.service;
    }
    // A server that is not there yet is asked again while there is time, as by grpc.WithBlock().
    constexpr base::Duration kNever = std::chrono::hours(24);
    call_ = channel_.call(
        "/grpc.health.v1.Health/Check", std::move(message), timeout > timeout.zero() ? timeout : kNever,
        [this](grpc::Status status, std::string reply) { judge(status, reply); }, true);
  }

  Outcome overdue() const override {
    if (!channel_.is_ready())
      return failure("timeout: failed to connect service \"" + where_ + "\" within " +
                     whole_seconds(timeout_) + ": context deadline exceeded");
    return failure("timeout: health rpc did not complete within " + whole_seconds(timeout_));
  }

 private:
  static Outcome failure(std::string message) { return {.success = false, .message = std::move(message)}; }
  void finish(Outcome outcome) {
    if (auto done = std::exchange(done_, nullptr)) done(std::move(outcome));
  }
  void judge(const grpc::Status& answer, const std::string& reply) {
    if (answer.code == grpc::kUnimplemented)
      return finish(
          failure("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " +
                  answer.message));
    if (answer.code == grpc::kDeadlineExceeded) return finish(overdue());
    if (!answer.ok()) return finish(failure("error: health rpc probe failed: " + answer.text()));
    const std::optional<uint64_t> status = status_of(reply);
    if (!status)
      return finish(
          failure("error: health rpc probe failed: " +
                  grpc::Status{grpc::kInternal, "grpc: failed to unmarshal the received message"}.text()));
    if (*status == 1) return finish({.success = true, .message = ""});
    static const char* const names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
    finish(failure("service unhealthy (responded with \"" +
                   (*status < 4 ? std::string(names[*status]) : std::to_string(*status)) + "\")"));
  }

  const std::string where_;
  const base::Duration timeout_;
  NetDone done_;
  grpc::Channel channel_;
  std::unique_ptr<grpc::Channel::Call> call_;
};

}  // namespace

std::unique_ptr<NetAttempt> ask_grpc(base::Loop& loop, const NetTarget& target, std::string address,
                                     base::Duration timeout, NetDone done) {
  return std::make_unique<GrpcAttempt>(loop, target, std::move(address), timeout, std::move(done));
}

}  // namespace kubelet
