#include "runtime/image/http.h"

#include <curl/curl.h>

#include <cerrno>
#include <mutex>

#include "base/sys.h"
#include "runtime/image/tar.h"

namespace runtime {
namespace {

using base::Kind;
using base::make_error;
constexpr size_t kMaxRefusal = 64 << 10;
constexpr size_t kMaxHeaders = 200;

struct Transfer {
  const HttpRequest* request;
  CURL* curl;
  HttpResponse response;
  base::Status failure;
};

size_t on_header(char* data, size_t, size_t size, void* user) {
  auto* transfer = static_cast<Transfer*>(user);
  std::string_view line(data, size);
  if (line.starts_with("HTTP/")) {  // of each answer on the way: the last one counts
    transfer->response.headers.clear();
    return size;
  }
  size_t colon = line.find(':');
  if (colon == std::string_view::npos || transfer->response.headers.size() >= kMaxHeaders) return size;
  std::string name(line.substr(0, colon));
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == '\r' || value.back() == '\n' || value.back() == ' '))
    value.remove_suffix(1);
  std::string& slot = transfer->response.headers[name];
  if (!slot.empty()) slot += ", ";
  slot += value;
  return size;
}

size_t on_body(char* data, size_t, size_t size, void* user) {
  auto* transfer = static_cast<Transfer*>(user);
  long status = 0;
  curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
  std::string& body = transfer->response.body;
  if (status != 200 && status != 206) {
    if (body.size() < kMaxRefusal) body.append(data, std::min(size, kMaxRefusal - body.size()));
    return size;
  }
  if (transfer->request->sink) {
    transfer->failure = transfer->request->sink(static_cast<int>(status), {data, size});
    return transfer->failure.ok() ? size : 0;
  }
  if (body.size() + size > transfer->request->max_body_bytes) {
    transfer->failure =
        make_error(Kind::kExhausted, "GET", transfer->request->url,
                   "the answer is over " + std::to_string(transfer->request->max_body_bytes) + " bytes");
    return 0;
  }
  body.append(data, size);
  return size;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto* transfer = static_cast<Transfer*>(user);
  return transfer->request->stop && *transfer->request->stop ? 1 : 0;
}

base::Error error_of(CURLcode code, Transfer& transfer, const char* text) {
  const std::string& url = transfer.request->url;
  std::string reason = *text ? text : curl_easy_strerror(code);
  auto error = [&](Kind kind, std::string hint) {
    return make_error(kind, "GET", url, reason, std::move(hint));
  };
  switch (code) {
    case CURLE_WRITE_ERROR:
      if (!transfer.failure.ok()) return transfer.failure.error();
      return error(Kind::kInternal, "");
    case CURLE_ABORTED_BY_CALLBACK: return error(Kind::kCanceled, "");
    case CURLE_COULDNT_RESOLVE_HOST:
      return error(Kind::kUnavailable, "check the registry's name and this host's DNS");
    case CURLE_COULDNT_CONNECT: {
      long number = 0;
      curl_easy_getinfo(transfer.curl, CURLINFO_OS_ERRNO, &number);
      base::Error out =
          error(Kind::kUnavailable, "check that the registry runs and that this host reaches it");
      out.errno_value = static_cast<int>(number);
      return out;
    }
    case CURLE_OPERATION_TIMEDOUT: return error(Kind::kTimeout, "check the network to the registry");
    case CURLE_PEER_FAILED_VERIFICATION:
      return error(Kind::kDenied, "give its CA as caFile in the registries file, or insecure: true");
    case CURLE_SSL_CACERT_BADFILE:
      return make_error(Kind::kInvalid, "GET", url,
                        "caFile " + transfer.request->tls->ca_file + " is unreadable",
                        "correct it in the registries file");
    case CURLE_SSL_CONNECT_ERROR:
      return error(Kind::kUnavailable, "if it speaks no TLS, set plainHTTP: true in the registries file");
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return error(Kind::kInvalid, "");
    case CURLE_OUT_OF_MEMORY: return error(Kind::kExhausted, "");
    case CURLE_TOO_MANY_REDIRECTS: return error(Kind::kInvalid, "the registry redirects in a circle");
    default: return error(Kind::kUnavailable, "try again");
  }
}

}  // namespace

HttpClient::HttpClient() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  handle_ = curl_easy_init();
  SAMPAN_CHECK(handle_);
}
HttpClient::~HttpClient() { curl_easy_cleanup(handle_); }

base::Result<HttpResponse> HttpClient::get(const HttpRequest& request) {
  CURL* curl = handle_;
  curl_easy_reset(curl);  // connections and their TLS sessions stay
  Transfer transfer{&request, curl, {}, {}};
  char text[CURL_ERROR_SIZE] = "";
  curl_slist* headers = nullptr;
  for (const std::string& header : request.headers) headers = curl_slist_append(headers, header.c_str());
  // Never down from TLS: what the registry redirects to is as protected as itself.
  bool plain = request.url.starts_with("http://");
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, plain ? "http,https" : "https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, plain ? "http,https" : "https");
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "sampan/0.1");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 10'000L);
  // Less than 100 bytes a second for half a minute is a dead peer, however long the transfer.
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 100L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 30L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  if (request.tls && request.tls->insecure) {
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (request.tls && !request.tls->ca_file.empty())
    curl_easy_setopt(curl, CURLOPT_CAINFO, request.tls->ca_file.c_str());
  std::string range = std::to_string(request.from_byte) + "-";
  if (request.from_byte > 0) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
  CURLcode code = curl_easy_perform(curl);
  curl_slist_free_all(headers);
  if (code != CURLE_OK) return error_of(code, transfer, text);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  transfer.response.status = static_cast<int>(status);
  return std::move(transfer.response);
}

}  // namespace runtime
