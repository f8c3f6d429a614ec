// A gRPC server for tests, on the test's own loop.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <utility>
#include <vector>

#include "base/http/transport.h"

namespace base {

// One connection at a time; answers every request as told.
class GrpcServer {
 public:
  // On loopback, or on a unix socket.
  explicit GrpcServer(Loop& loop, const std::string& path = {}) : loop_(loop) {
    if (!path.empty()) {
      auto address = http::parse_address("unix:" + path, 0);
      ::unlink(path.c_str());
      listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address->storage), address->size), 0);
      EXPECT_EQ(::listen(listener_.get(), 8), 0);
      accepting_ = loop_.watch(listener_.get(), EPOLLIN, [this](uint32_t) { accept(); });
      return;
    }
    listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    socklen_t size = sizeof address;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    accepting_ = loop_.watch(listener_.get(), EPOLLIN, [this](uint32_t) { accept(); });
  }
  ~GrpcServer() { nghttp2_session_del(session_); }

  int port = 0;
  bool silent = false;  // accepts and says nothing
  std::map<std::string, std::string> request;
  std::string body;  // of the request
  std::string http_status = "200", grpc_status = "0", grpc_message;
  std::string answer = std::string("\0\0\0\0\2\x08\x01", 7);  // SERVING
  bool mute = false;                                          // takes the request, answers never
  int connections = 0;
  std::vector<uint32_t> resets;  // codes of the streams that the client gave up
  void hang_up() {
    http::retire(std::move(transport_));
    nghttp2_session_del(std::exchange(session_, nullptr));
  }

 private:
  void accept() {
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) return;
    ++connections;
    nghttp2_session_del(session_);
    session_ = nullptr;
    request.clear();
    body.clear();
    sent_.clear();
    transport_ = std::make_unique<http::Transport>(loop_, std::move(fd), nullptr, true);
    if (silent) return;
    nghttp2_session_callbacks* callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t n,
                      const uint8_t* value, size_t m, uint8_t, void* user) {
          static_cast<GrpcServer*>(user)->request[std::string(reinterpret_cast<const char*>(name), n)] =
              std::string(reinterpret_cast<const char*>(value), m);
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, uint8_t, int32_t, const uint8_t* data, size_t n, void* user) {
          static_cast<GrpcServer*>(user)->body.append(reinterpret_cast<const char*>(data), n);
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
          if (frame->hd.type == NGHTTP2_RST_STREAM)
            static_cast<GrpcServer*>(user)->resets.push_back(frame->rst_stream.error_code);
          if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
              (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            static_cast<GrpcServer*>(user)->respond(frame->hd.stream_id);
          return 0;
        });
    nghttp2_session_server_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
    transport_->set_ready([this](uint32_t) { ready(); });
    transport_->want_read(true);
    flush();
  }
  void ready() {
    if (!session_) return;
    std::string_view data;
    if (transport_->read(&data) == http::Transport::Io::kOk)
      nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(data.data()), data.size());
    else transport_->want_read(false);
    flush();
  }
  void flush() {
    const uint8_t* data;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(session_, &data)) > 0)
      transport_->queue(std::string(reinterpret_cast<const char*>(data), static_cast<size_t>(n)));
    transport_->flush();
  }
  static nghttp2_nv header(const std::string& name, const std::string& value) {
    return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
            reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
            NGHTTP2_NV_FLAG_NONE};
  }
  void respond(int32_t stream) {
    if (mute) return;
    const std::string type = "application/grpc", status_name = ":status", type_name = "content-type";
    const nghttp2_nv head[] = {header(status_name, http_status), header(type_name, type)};
    nghttp2_data_provider provider{};
    provider.source.ptr = this;
    provider.read_callback = [](nghttp2_session* session, int32_t id, uint8_t* buffer, size_t size,
                                uint32_t* flags, nghttp2_data_source* source, void*) -> ssize_t {
      auto* self = static_cast<GrpcServer*>(source->ptr);
      size_t& sent = self->sent_[id];
      const size_t n = std::min(size, self->answer.size() - sent);
      std::copy_n(self->answer.data() + sent, n, reinterpret_cast<char*>(buffer));
      sent += n;
      if (sent < self->answer.size()) return static_cast<ssize_t>(n);
      *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const std::string status_key = "grpc-status", message_key = "grpc-message";
      const nghttp2_nv trailers[] = {header(status_key, self->grpc_status),
                                     header(message_key, self->grpc_message)};
      nghttp2_submit_trailer(session, id, trailers, 2);
      return static_cast<ssize_t>(n);
    };
    nghttp2_submit_response(session_, stream, head, 2, &provider);
  }

  Loop& loop_;
  UniqueFd listener_;
  Loop::Handle accepting_;
  std::unique_ptr<http::Transport> transport_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, size_t> sent_;  // of the answer, by stream
};

}  // namespace base
