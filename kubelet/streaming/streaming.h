// exec, attach, port-forward and logs of the kubelet's HTTP server: what `kubectl exec|attach|cp|
// port-forward|logs` end at. Owns the sessions; finds Pods through a StreamBackend; starts nothing
// itself but by runtime::Pod. Who may ask was decided before handle().
#pragma once

#include <unordered_set>

#include "base/http/server.h"
#include "base/json.h"
#include "kubelet/streaming/channels.h"
#include "runtime/runtime.h"

namespace kubelet {

struct StreamTarget {
  std::shared_ptr<runtime::Pod> pod;
  std::string container;      // the runtime's id
  base::json::value process;  // exec: OCI process (env, cwd, user, capabilities…); args and
                              // terminal are set here
  // Of the container itself: what attach can have, and whether the end of its input is the container's.
  bool stdin = false, stdin_once = false, tty = false;
};
struct LogTarget {
  std::string path;             // CRI log file
  std::function<bool()> ended;  // its container has exited: following stops at the end
};

class StreamBackend {
 public:
  virtual ~StreamBackend() = default;
  // `uid` may be empty (any), `container` is empty for port-forward. kNotFound becomes 404,
  // kInvalid 400, all else 500; the reason is what a client of exec and attach is told.
  virtual base::Result<StreamTarget> stream_target(const std::string& name_space, const std::string& pod,
                                                   const std::string& uid, const std::string& container) = 0;
  virtual base::Result<LogTarget> log_target(const std::string& name_space, const std::string& pod,
                                             const std::string& container, bool previous) = 0;
};

class StreamSession {
 public:
  virtual ~StreamSession() = default;
  virtual void container_exited() {}
};

class Streaming {
 public:
  Streaming(base::Loop& loop, StreamBackend& backend);
  ~Streaming();  // ends every session
  // /exec, /attach: …/{namespace}/{pod}[/{uid}]/{container}; /portForward/{namespace}/{pod}[/{uid}];
  // /containerLogs/{namespace}/{pod}/{container}. False: not one of these.
  bool handle(const std::shared_ptr<base::http::Exchange>& exchange);
  // Some container exited: those who follow logs look again.
  void container_exited();
  size_t sessions() const { return sessions_.size(); }

  // For the sessions.
  base::Loop& loop() { return loop_; }
  void add(std::shared_ptr<StreamSession> session) { sessions_.insert(std::move(session)); }
  void remove(StreamSession* session);

 private:
  void command(const std::shared_ptr<base::http::Exchange>& exchange, const std::vector<std::string>& path,
               bool attach);
  void refuse_command(const std::shared_ptr<base::http::Exchange>& exchange, StreamOptions options,
                      const base::Error& error);
  void forward(const std::shared_ptr<base::http::Exchange>& exchange, const std::vector<std::string>& path);
  // forward_channels.cc
  void forward_channels(const std::shared_ptr<base::http::Exchange>& exchange, StreamTarget target,
                        const std::string& pod);
  void logs(const std::shared_ptr<base::http::Exchange>& exchange, const std::vector<std::string>& path);

  base::Loop& loop_;
  StreamBackend& backend_;
  std::unordered_set<std::shared_ptr<StreamSession>> sessions_;
};

// A metav1.Status as JSON text, and an Error answered as one.
std::string status_json(bool success, int code, std::string_view reason, std::string_view message,
                        std::string_view cause_type = {}, std::string_view cause_message = {});
void answer_error(const std::shared_ptr<base::http::Exchange>& exchange, const base::Error& error);

}  // namespace kubelet
