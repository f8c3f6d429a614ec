#include "kubelet/streaming/streaming.h"

#include "base/log.h"

namespace kubelet {
namespace json = base::json;
using base::http::Exchange;

std::string status_json(bool success, int code, std::string_view reason, std::string_view message,
                        std::string_view cause_type, std::string_view cause_message) {
  json::object status{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::object()}};
  status["status"] = success ? "Success" : "Failure";
  if (!message.empty()) status["message"] = message;
  if (!reason.empty()) status["reason"] = reason;
  if (!cause_type.empty())
    status["details"] = json::object{
        {"causes", json::array{json::object{{"reason", cause_type}, {"message", cause_message}}}}};
  if (code != 0) status["code"] = code;
  return base::to_json(status);
}

void answer_error(const std::shared_ptr<Exchange>& exchange, const base::Error& error) {
  int code = error.kind == base::Kind::kNotFound  ? 404
             : error.kind == base::Kind::kInvalid ? 400
             : error.kind == base::Kind::kDenied  ? 403
                                                  : 500;
  const char* reason = code == 404   ? "NotFound"
                       : code == 400 ? "BadRequest"
                       : code == 403 ? "Forbidden"
                                     : "InternalError";
  base::http::Headers headers;
  headers.add("Content-Type", "application/json");
  exchange->respond(code, headers, status_json(false, code, reason, error.message()));
}

Streaming::Streaming(base::Loop& loop, StreamBackend& backend) : loop_(loop), backend_(backend) {}
Streaming::~Streaming() {
  auto all = std::move(sessions_);
  sessions_.clear();
}
void Streaming::remove(StreamSession* session) {
  for (auto it = sessions_.begin(); it != sessions_.end(); ++it)
    if (it->get() == session) {
      // Mostly called from inside the session: it dies when the stack is unwound.
      loop_.post([dead = *it] {});
      sessions_.erase(it);
      return;
    }
}
void Streaming::container_exited() {
  auto all = sessions_;
  for (const auto& session : all) session->container_exited();
}

bool Streaming::handle(const std::shared_ptr<Exchange>& exchange) {
  std::vector<std::string> path;
  std::string_view rest = exchange->request().path();
  while (!rest.empty()) {
    rest.remove_prefix(1);
    size_t slash = rest.find('/');
    auto part = base::http::unescape(rest.substr(0, slash));
    if (!part.ok()) {
      answer_error(exchange, part.error());
      return true;
    }
    path.push_back(std::move(*part));
    rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash);
  }
  if (path.empty()) return false;
  const std::string what = path[0];
  if ((what == "exec" || what == "attach") && (path.size() == 4 || path.size() == 5)) {
    if (path.size() == 4) path.insert(path.begin() + 3, "");
    command(exchange, path, what == "attach");
  } else if (what == "portForward" && (path.size() == 3 || path.size() == 4)) {
    if (path.size() == 3) path.push_back("");
    forward(exchange, path);
  } else if (what == "containerLogs" && path.size() == 4) {
    logs(exchange, path);
  } else {
    return false;
  }
  return true;
}

}  // namespace kubelet
