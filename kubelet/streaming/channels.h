// The channels of one exec or attach (stdin, stdout, stderr, error, resize), carried by WebSocket
// ([v4|v5.]channel.k8s.io, KEP-4006; [v4.]base64.channel.k8s.io for clients that have text alone) or by
// SPDY/3.1 streams (v1 to v5.channel.k8s.io). Owns the client's connection; knows nothing of processes.
#pragma once

#include <optional>

#include "base/http/server.h"

namespace kubelet {

struct StreamOptions {
  bool in = false, out = false, err = false, tty = false;
};

class Channels {
 public:
  enum Channel { kStdin = 0, kStdout = 1, kStderr = 2, kError = 3, kResize = 4 };
  struct Handlers {
    std::function<void()> ready;  // all streams are there
    std::function<void(std::string_view)> in;
    std::function<void()> in_end;
    std::function<void(uint16_t columns, uint16_t rows)> resize;
    std::function<void()> closed;  // the client is gone
    std::function<void()> drained;
  };
  virtual ~Channels() = default;  // closes at once, without handlers
  virtual void start(Handlers handlers) = 0;
  virtual void write(Channel channel, std::string_view data) = 0;
  virtual void end(Channel channel) = 0;
  // The last word: status_json for v4 and later, else `plain` (empty on success). Then closes.
  virtual void finish(const std::string& status, const std::string& plain) = 0;
  virtual void pause_in(bool paused) = 0;
  virtual size_t queued_bytes() const = 0;
};

// Upgrades the request, or answers it with an error and returns nullptr.
std::unique_ptr<Channels> open_channels(base::Loop& loop,
                                        const std::shared_ptr<base::http::Exchange>& exchange,
                                        StreamOptions options);

// What a client of port-forward is told.
std::string forward_failure(uint16_t port, const std::string& pod, const std::string& reason);

// A message of a channel: its number and the bytes; in base64 a digit and text. nullopt: it is none.
struct ChannelMessage {
  uint8_t channel;
  std::string data;
};
std::string channel_message(uint8_t channel, std::string_view data, bool base64);
std::optional<ChannelMessage> read_channel_message(std::string_view message, bool base64);

bool is_spdy_upgrade(const base::http::Request& request);
// The first X-Stream-Protocol-Version of the client that is in `served`. False: it was answered
// with 403. Absent in the request: "" and true.
bool negotiate_spdy(const std::shared_ptr<base::http::Exchange>& exchange,
                    const std::vector<std::string>& served, std::string* protocol);
std::unique_ptr<base::http::ByteStream> upgrade_spdy(const std::shared_ptr<base::http::Exchange>& exchange,
                                                     const std::string& protocol);

}  // namespace kubelet
