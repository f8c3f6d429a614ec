// exec and attach: joins the channels of a client with the stdio of a process that runtime::Pod
// starts or holds. Back-pressure both ways; a client that goes away ends what it started.
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <csignal>

#include "base/http/transport.h"
#include "base/sys.h"
#include "kubelet/streaming/channels.h"
#include "kubelet/streaming/streaming.h"

namespace kubelet {
namespace {
using base::http::ByteStream;
using namespace std::chrono_literals;
constexpr size_t kHighBytes = 256 << 10;
// After the process has exited, its stdout may still be held open by what it left in the
// background: output goes on as long as there is some.
constexpr auto kQuietAfterExit = 1s;

class CommandSession final : public StreamSession, public std::enable_shared_from_this<CommandSession> {
 public:
  CommandSession(Streaming& owner, StreamTarget target, std::vector<std::string> command,
                 StreamOptions options, bool attach)
      : owner_(owner), target_(std::move(target)), command_(std::move(command)), options_(options),
        attach_(attach) {}

  void run(std::unique_ptr<Channels> channels) {
    channels_ = std::move(channels);
    Channels::Handlers handlers;
    handlers.ready = [this] { ready(); };
    handlers.in = [this](std::string_view data) { in(data); };
    handlers.in_end = [this] { in_ended(); };
    handlers.resize = [this](uint16_t columns, uint16_t rows) { resize(columns, rows); };
    handlers.closed = [this] { client_gone(); };
    handlers.drained = [this] { pause_outputs(false); };
    channels_->start(std::move(handlers));
  }

 private:
  void ready() {
    auto weak = weak_from_this();
    if (attach_) {
      target_.pod->attach(target_.container, runtime::Pod::SlowReader::kLoses,
                          [weak](base::Result<runtime::Pod::Attached> result) {
                            auto self = weak.lock();
                            if (!self || self->over_) return;
                            if (!result.ok()) return self->failed(result.error());
                            self->started_ = true;
                            if (result->terminal.valid()) self->open_terminal(std::move(result->terminal));
                            // What a client sends to a container that takes no input goes nowhere; its output
                            // is shown.
                            if (!self->target_.stdin) self->in_stream_ = nullptr;
                            if (self->options_.in && result->in.valid()) self->open_in(std::move(result->in));
                            if (self->options_.out && result->out.valid())
                              self->open_output(Channels::kStdout, std::move(result->out));
                            if (self->options_.err && result->err.valid())
                              self->open_output(Channels::kStderr, std::move(result->err));
                            self->flush_early();
                            if (self->open_outputs_ == 0 && !self->options_.in) self->finish_success();
                          });
      return;
    }
    runtime::Pod::Exec exec;
    exec.container = target_.container;
    exec.process = std::move(target_.process);
    if (!exec.process.is_object()) exec.process = base::json::object();
    auto& process = exec.process.as_object();
    base::json::array args;
    for (const std::string& one : command_) args.emplace_back(one);
    process["args"] = std::move(args);
    process["terminal"] = options_.tty;
    exec.terminal = options_.tty;
    base::sys::Pipe in, out, err;
    if (!options_.tty) {
      auto make = [&](bool wanted, base::sys::Pipe* pipe) {
        if (!wanted) return true;
        auto made = base::sys::pipe();
        if (!made.ok()) return failed(made.error()), false;
        *pipe = std::move(*made);
        return true;
      };
      if (!make(options_.in, &in) || !make(options_.out, &out) || !make(options_.err, &err)) return;
      exec.stdin_fd = in.read.get();
      exec.stdout_fd = out.write.get();
      exec.stderr_fd = err.write.get();
    }
    // Our ends wait in the callback; theirs must stay open until the runtime has sent them on.
    struct Ends {
      base::sys::Pipe in, out, err;
    };
    auto ends = std::make_shared<Ends>(Ends{std::move(in), std::move(out), std::move(err)});
    target_.pod->exec(
        std::move(exec),
        // Not weak: an exec whose client left while it started is killed here.
        [self = shared_from_this(), ends](base::Result<runtime::Pod::ExecStarted> result) {
          if (!result.ok()) {
            if (!self->over_) self->failed(result.error());
            return;
          }
          self->exec_id_ = result->exec_id;
          self->started_ = true;
          if (self->over_) return self->kill();  // the client left meanwhile
          ends->in.read.reset();
          ends->out.write.reset();
          ends->err.write.reset();
          if (result->terminal.valid()) self->open_terminal(std::move(result->terminal));
          if (ends->in.write.valid()) self->open_in(std::move(ends->in.write));
          if (ends->out.read.valid()) self->open_output(Channels::kStdout, std::move(ends->out.read));
          if (ends->err.read.valid()) self->open_output(Channels::kStderr, std::move(ends->err.read));
          self->flush_early();
          self->check_end();
        },
        [weak](int exit_code) {
          if (auto self = weak.lock()) self->exited(exit_code);
        });
  }

  void open_terminal(base::UniqueFd fd) {
    terminal_fd_ = fd.get();
    if (columns_ != 0) resize(columns_, rows_);
    terminal_ = base::http::make_stream(owner_.loop(), std::move(fd));
    in_stream_ = terminal_.get();
    read(*terminal_, Channels::kStdout);
    drain(*terminal_);
  }
  void open_in(base::UniqueFd fd) {
    in_ = base::http::make_stream(owner_.loop(), std::move(fd));
    in_stream_ = in_.get();
    drain(*in_);
  }
  void open_output(Channels::Channel channel, base::UniqueFd fd) {
    auto& stream = channel == Channels::kStdout ? out_ : err_;
    output_fds_[channel == Channels::kStdout ? 0 : 1] = fd.get();
    stream = base::http::make_stream(owner_.loop(), std::move(fd));
    read(*stream, channel);
  }
  void drain(ByteStream& stream) {
    stream.on_drain([this] {
      if (std::exchange(in_paused_, false) && channels_) channels_->pause_in(false);
    });
  }
  void read(ByteStream& stream, Channels::Channel channel) {
    ++open_outputs_;
    stream.on_data(
        [this, channel](std::string_view data) {
          if (!channels_ || over_) return;
          channels_->write(channel, data);
          if (exit_code_) quiet();
          if (channels_->queued_bytes() > kHighBytes) pause_outputs(true);
        },
        [this, channel](base::Status) {
          --open_outputs_;
          output_fds_[channel == Channels::kStdout ? 0 : 1] = -1;
          if (over_) return;
          if (channels_) channels_->end(channel);
          check_end();
        });
  }
  void pause_outputs(bool paused) {
    if (outputs_paused_ == paused) return;
    outputs_paused_ = paused;
    for (ByteStream* one : {terminal_.get(), out_.get(), err_.get()})
      if (one) one->pause(paused);
    if (!paused && exit_code_) quiet();
  }

  void in(std::string_view data) {
    if (over_) return;
    if (!started_) {
      early_in_ += data;
      if (early_in_.size() > kHighBytes) pause_in();
      return;
    }
    if (!in_stream_) return;
    in_stream_->write(std::string(data));
    if (in_stream_->queued_bytes() > kHighBytes) pause_in();
  }
  void pause_in() {
    if (std::exchange(in_paused_, true)) return;
    channels_->pause_in(true);
  }
  void flush_early() {
    if (in_stream_ && !early_in_.empty()) in_stream_->write(std::move(early_in_));
    early_in_.clear();
    if (!in_stream_ || in_stream_->queued_bytes() == 0)
      if (std::exchange(in_paused_, false)) channels_->pause_in(false);
    if (in_end_) in_ended();
  }
  // A terminal of an exec has no end of input but the character that the client sends. An attach is over
  // with its input, unless the container's own ends there as well (stdinOnce) and its output goes on:
  // what container runtimes do behind the kubelet.
  void in_ended() {
    in_end_ = true;
    if (over_ || !started_ || !in_stream_) return;
    bool ends_attach = attach_ && (target_.tty || !target_.stdin_once);
    if (!in_ && !ends_attach) return;
    in_stream_ = nullptr;
    for (auto* stream : {&in_, ends_attach ? &terminal_ : nullptr})
      if (stream && *stream) {
        (*stream)->finish();  // after what was sent is written
        (*stream).reset();
      }
    if (ends_attach) finish_success();
  }
  void resize(uint16_t columns, uint16_t rows) {
    columns_ = columns;
    rows_ = rows;
    if (terminal_fd_ < 0 || over_) return;
    winsize size{};
    size.ws_col = columns;
    size.ws_row = rows;
    ::ioctl(terminal_fd_, TIOCSWINSZ, &size);  // a terminal whose process has gone: nothing to do
  }

  void exited(int exit_code) {
    if (over_ || exit_code_) return;
    exit_code_ = exit_code;
    quiet();
    check_end();
  }
  void quiet() {
    if (outputs_paused_) return quiet_.cancel();
    quiet_ = owner_.loop().after(kQuietAfterExit, [this] {
      if (has_output()) return quiet();  // a loop that was held up sees the timer before the pipes
      open_outputs_ = 0;
      check_end();
    });
  }
  bool has_output() const {
    for (int fd : {output_fds_[0], output_fds_[1], terminal_fd_}) {
      pollfd one{fd, POLLIN, 0};
      if (fd >= 0 && ::poll(&one, 1, 0) == 1 && (one.revents & POLLIN)) return true;
    }
    return false;
  }
  void check_end() {
    if (over_ || open_outputs_ > 0 || !started_) return;
    if (attach_) return finish_success();
    if (!exit_code_) return;
    if (*exit_code_ == 0) return finish_success();
    std::string code = std::to_string(*exit_code_);
    std::string message = "command terminated with non-zero exit code: exit status " + code;
    finish(status_json(false, 0, "NonZeroExitCode", message, "ExitCode", code), message);
  }
  void finish_success() { finish(status_json(true, 0, {}, {}), {}); }
  void failed(const base::Error& error) {
    std::string message = "error executing command in container: " + error.message();
    finish(status_json(false, 500, "InternalError", "Internal error occurred: " + message), message);
  }
  void finish(const std::string& status, const std::string& plain) {
    over_ = finished_ = true;
    quiet_.cancel();
    close_stdio();
    channels_->finish(status, plain);  // and then its `closed` ends the session
  }
  void client_gone() {
    if (!finished_ && !attach_ && started_ && !exit_code_) kill();
    over_ = true;
    quiet_.cancel();
    close_stdio();
    auto channels = std::move(channels_);
    owner_.loop().post([dead = std::shared_ptr<Channels>(std::move(channels))] {});
    owner_.remove(this);
  }
  void kill() {
    if (exec_id_.empty()) return;
    target_.pod->signal_exec(exec_id_, SIGKILL, [pod = target_.pod](base::Status status) {
      base::ignore(status, "it may have exited meanwhile");
    });
  }
  void close_stdio() {
    terminal_fd_ = output_fds_[0] = output_fds_[1] = -1;
    in_stream_ = nullptr;
    in_.reset();
    out_.reset();
    err_.reset();
    terminal_.reset();
  }

  Streaming& owner_;
  StreamTarget target_;
  std::vector<std::string> command_;
  StreamOptions options_;
  bool attach_;
  std::unique_ptr<Channels> channels_;
  std::unique_ptr<ByteStream> in_, out_, err_, terminal_;
  ByteStream* in_stream_ = nullptr;
  std::string early_in_, exec_id_;
  int open_outputs_ = 0, terminal_fd_ = -1, output_fds_[2] = {-1, -1};
  uint16_t columns_ = 0, rows_ = 0;
  std::optional<int> exit_code_;
  bool started_ = false, over_ = false, finished_ = false, in_end_ = false;
  bool in_paused_ = false, outputs_paused_ = false;
  base::Loop::Handle quiet_;
};

// Tells a client whose connection was made why there is nothing at its other end.
class RefusedSession final : public StreamSession, public std::enable_shared_from_this<RefusedSession> {
 public:
  RefusedSession(Streaming& owner, std::string why) : owner_(owner), why_(std::move(why)) {}
  void run(std::unique_ptr<Channels> channels) {
    channels_ = std::move(channels);
    Channels::Handlers handlers;
    handlers.ready = [this] {
      channels_->finish(status_json(false, 500, "InternalError", "Internal error occurred: " + why_), why_);
    };
    handlers.in = [](std::string_view) {};
    handlers.in_end = [] {};
    handlers.resize = [](uint16_t, uint16_t) {};
    handlers.closed = [this] {
      owner_.loop().post([dead = std::shared_ptr<Channels>(std::move(channels_))] {});
      owner_.remove(this);
    };
    handlers.drained = [] {};
    channels_->start(std::move(handlers));
  }

 private:
  Streaming& owner_;
  std::string why_;
  std::unique_ptr<Channels> channels_;
};
}  // namespace

// In the words of upstream's kubelet and by its ways: plain text behind 404 or 500, from which a client of
// SPDY makes its error; v5 by WebSocket, which kube-apiserver carries on as SPDY once it has accepted it,
// hears of it on the error channel.
void Streaming::refuse_command(const std::shared_ptr<base::http::Exchange>& exchange, StreamOptions options,
                               const base::Error& error) {
  const bool by_channel =
      base::websocket::is_upgrade(exchange->request()) &&
      exchange->request().headers.get("Sec-WebSocket-Protocol").find("v5.channel.k8s.io") !=
          std::string::npos;
  if (!by_channel)
    return exchange->respond(error.kind == base::Kind::kNotFound ? 404 : 500, {}, error.reason);
  auto channels = open_channels(loop_, exchange, options);
  if (!channels) return;
  auto session = std::make_shared<RefusedSession>(*this, "unable to upgrade connection: " + error.reason);
  add(session);
  session->run(std::move(channels));
}

void Streaming::command(const std::shared_ptr<base::http::Exchange>& exchange,
                        const std::vector<std::string>& path, bool attach) {
  StreamOptions options;
  std::vector<std::string> command;
  for (auto& [key, value] : base::http::parse_query(exchange->request().query())) {
    bool on = value == "1" || value == "true";
    // The API says stdin, the kubelet's own API says input.
    if (key == "command") command.push_back(std::move(value));
    else if (key == "input" || key == "stdin") options.in = on;
    else if (key == "output" || key == "stdout") options.out = on;
    else if (key == "error" || key == "stderr") options.err = on;
    else if (key == "tty") options.tty = on;
  }
  auto bad = [&](const char* reason) {
    answer_error(exchange, base::make_error(base::Kind::kInvalid, attach ? "attach" : "exec",
                                            path[2] + "/" + path[4], reason));
  };
  if (options.tty) options.err = false;  // a terminal has one output
  if (!options.in && !options.out && !options.err)
    return bad("you must specify at least 1 of stdin, stdout, stderr");
  if (!attach && command.empty()) return bad("you must specify a command");
  auto target = backend_.stream_target(path[1], path[2], path[3], path[4]);
  if (!target.ok()) return refuse_command(exchange, options, target.error());
  if (attach && options.tty && !target->tty) return bad("the container has no terminal (spec tty: false)");
  auto channels = open_channels(loop_, exchange, options);
  if (!channels) return;
  auto session =
      std::make_shared<CommandSession>(*this, std::move(*target), std::move(command), options, attach);
  add(session);
  session->run(std::move(channels));
}

}  // namespace kubelet
