#include "master/server/front.h"

#include <algorithm>
#include <cstdio>

#include "api/protobuf.h"
#include "base/fiber.h"
#include "base/uuid.h"

namespace master {

namespace metrics = base::metrics;
using base::http::Bytes;
using base::http::Headers;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kSeats = 600;  // kube-apiserver's 400 reading and 200 mutating requests
constexpr size_t kMaxAuditedBody = 1 << 20;
constexpr size_t kPackedAtOnce = 64 << 10;
const std::vector<double> kDurations = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1,  1.25, 1.5, 2,
                                        3,     4,     5,    6,   8,   10,  15,  20,  30, 45,   60};
const std::vector<double> kSizes = {1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
const std::vector<double> kStoreDurations = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                             0.2,    0.4,   0.6,    0.8,   1,    2,     4,    8};

std::string_view verb_label(const RequestInfo& request) {
  if (!request.resource) return request.http().method;
  if (connects(request.subresource)) return "CONNECT";
  const std::string& verb = request.verb;
  if (verb == "get") return "GET";
  if (verb == "list") return "LIST";
  if (verb == "watch") return "WATCH";
  if (verb == "create") return "POST";
  if (verb == "update") return "PUT";
  if (verb == "patch")
    return request.http().headers.get("Content-Type").starts_with("application/apply-patch") ? "APPLY"
                                                                                             : "PATCH";
  if (verb == "delete") return "DELETE";
  if (verb == "deletecollection") return "DELETECOLLECTION";
  return "other";
}
// What is no resource is told apart by its first segment, if it is one of ours: clients don't make series.
std::string_view path_label(std::string_view path) {
  for (std::string_view known :
       {"/healthz", "/livez", "/readyz", "/metrics", "/version", "/openapi", "/apis", "/api", "/.well-known"})
    if (path.starts_with(known)) return known;
  return "";
}

}  // namespace

// The metrics of one kind of request, found once.
struct Front::Series {
  std::string verb, group, version, resource, subresource, scope, dry_run;
  bool is_read = false;
  metrics::Registry* registry;
  metrics::Histogram *duration = nullptr, *size = nullptr;
  metrics::Value *running = nullptr, *events = nullptr;
  std::vector<std::pair<int, metrics::Value*>> codes;

  void count(int code) {
    for (auto& [known, value] : codes)
      if (known == code) return value->add();
    std::string text = std::to_string(code);
    metrics::Value& value =
        registry->counter("apiserver_request_total",
                          "Counter of apiserver requests broken out for each verb, dry run value, group, "
                          "version, resource, scope, component, and HTTP response code.",
                          {{"code", text},
                           {"component", "apiserver"},
                           {"dry_run", dry_run},
                           {"group", group},
                           {"resource", resource},
                           {"scope", scope},
                           {"subresource", subresource},
                           {"verb", verb},
                           {"version", version}});
    value.add();
    codes.emplace_back(code, &value);
  }
};

// Stands before the real exchange and sees its answer go by.
class Front::Observed final : public base::http::Exchange, public std::enable_shared_from_this<Observed> {
 public:
  Observed(std::shared_ptr<Front*> front, std::shared_ptr<Exchange> inner, Series* series, bool endless,
           metrics::Value* inflight, bool is_list)
      : front_(std::move(front)), inner_(std::move(inner)), series_(series), endless_(endless),
        inflight_(inflight), is_list_(is_list) {
    if (inflight_) inflight_->add();
  }
  ~Observed() override { end(); }

  void set_flow(const FlowControl::Flow& flow) {
    schema_uid_ = flow.schema_uid;
    level_uid_ = FlowControl::level_uid(flow);
    has_flow_ = true;
  }
  void hold(FlowControl::Seat seat) { seat_ = std::move(seat); }
  void set_audit(std::unique_ptr<AuditedRequest> audited, std::shared_ptr<RequestInfo> copy) {
    audited_ = std::move(audited);
    copy_ = std::move(copy);
  }

  const base::http::Request& request() const override { return inner_->request(); }
  void receive(std::function<void()> then) override { inner_->receive(std::move(then)); }
  void known() override { inner_->known(); }
  void respond(int status, Headers headers, std::vector<Bytes> body) override {
    code_ = status;
    for (const Bytes& part : body) size_ += part ? part->size() : 0;
    if (audited_ && (audited_->decision.level == AuditLevel::kRequestResponse || status >= 400) &&
        size_ <= kMaxAuditedBody && headers.get("Content-Encoding").empty() &&
        headers.get("Content-Type") != api::kProtobufMediaType)
      for (const Bytes& part : body)
        if (part) audited_->response += *part;
    add_headers(headers);
    Front* front = *front_;
    if (front && compressible(status, headers)) {
      headers.add("Content-Encoding", "gzip");
      headers.add("Vary", "Accept-Encoding");
      front->compressor_.gzip(std::move(body), [self = shared_from_this(), status,
                                                headers = std::move(headers)](Bytes made) mutable {
        self->inner_->respond(status, std::move(headers), std::vector<Bytes>{std::move(made)});
        self->end();
      });
      return;
    }
    inner_->respond(status, std::move(headers), std::move(body));
    end();
  }
  void start(int status, Headers headers) override {
    code_ = status;
    add_headers(headers);
    seat_.reset();  // a watch holds a seat only until it runs
    if (is_list_ && status == 200 && inner_->request().method != "HEAD" &&
        headers.get("Content-Encoding").empty() && base::http::accepts_gzip(inner_->request().headers)) {
      headers.add("Content-Encoding", "gzip");
      headers.add("Vary", "Accept-Encoding");
      packing_ = std::make_shared<base::http::GzipStream>();
    }
    inner_->start(status, std::move(headers));
    // Of what runs long alone, and not of an answer that only comes in pieces.
    if (audited_ && (endless_ || copy_->subresource == "log")) stage(kResponseStarted);
  }
  void write(Bytes chunk) override {
    if (series_ && series_->events) series_->events->add();
    if (chunk) size_ += chunk->size();
    if (packing_) return pack(std::move(chunk), false);
    inner_->write(std::move(chunk));
  }
  void finish() override {
    if (packing_) return pack(nullptr, true);
    inner_->finish();
    end();
  }
  size_t queued_bytes() const override { return inner_->queued_bytes() + unpacked_bytes_; }
  void on_drain(std::function<void()> drained) override {
    // The inner one holds it: its end frees what waits for this.
    auto held = std::make_shared<std::function<void()>>(std::move(drained));
    drained_ = held;
    inner_->on_drain([held] { (*held)(); });
  }
  std::unique_ptr<base::http::ByteStream> upgrade(Headers headers) override {
    code_ = 101;
    seat_.reset();
    add_headers(headers);
    if (audited_) stage(kResponseStarted);
    return inner_->upgrade(std::move(headers));
  }
  bool closed() const override { return inner_->closed(); }
  void on_close(std::function<void()> closed) override { inner_->on_close(std::move(closed)); }

 private:
  bool compressible(int status, const Headers& headers) const {
    return status == 200 && size_ > base::http::kGzipThresholdBytes && !inner_->closed() &&
           headers.get("Content-Encoding").empty() && base::http::accepts_gzip(inner_->request().headers);
  }
  // A long list is compressed piece by piece, beside the loop.
  void pack(Bytes chunk, bool last) {
    if (chunk) {
      unpacked_bytes_ += chunk->size();
      unpacked_.push_back(std::move(chunk));
    }
    Front* front = *front_;
    if (!front || inner_->closed() || (!last && unpacked_bytes_ < kPackedAtOnce)) return;
    size_t size = 0;
    for (const Bytes& part : unpacked_) size += part->size();
    front->compressor_.put(packing_, std::exchange(unpacked_, {}), last,
                           [self = shared_from_this(), size, last](Bytes made) {
                             self->unpacked_bytes_ -= size;
                             if (self->inner_->closed()) return;
                             self->inner_->write(std::move(made));
                             if (last) {
                               self->inner_->finish();
                               return self->end();
                             }
                             auto drained = self->drained_.lock();
                             if (drained && self->inner_->queued_bytes() == 0) (*drained)();
                           });
  }
  void add_headers(Headers& headers) const {
    if (audited_) headers.add("Audit-Id", audited_->id);
    if (!has_flow_) return;
    headers.add("X-Kubernetes-PF-FlowSchema-UID", schema_uid_);
    headers.add("X-Kubernetes-PF-PriorityLevel-UID", level_uid_);
  }
  void stage(std::string_view name) {
    Front* front = *front_;
    if (!front || !front->log_) return;
    audited_->code = code_;
    if (audited_->decision.omits(name)) return;
    std::string line;
    base::compute([&] { line = audit_event(name, *copy_, *audited_, base::wall_now()); });
    front->log_->append(std::move(line));
  }
  void end() {
    if (std::exchange(ended_, true)) return;
    seat_.reset();
    if (Front* front = *front_) {
      if (inflight_) inflight_->add(-1);
      if (endless_ && series_->running) series_->running->add(-1);
      series_->count(code_ == 0 ? 499 : code_);
      series_->duration->observe(std::chrono::duration<double>(Clock::now() - began_).count());
      if (series_->size) series_->size->observe(static_cast<double>(size_));
      if (audited_) stage(kResponseComplete);
      (void)front;
    }
    copy_.reset();
    audited_.reset();
  }

  std::shared_ptr<Front*> front_;
  std::shared_ptr<Exchange> inner_;
  Series* series_;
  bool endless_, ended_ = false, has_flow_ = false;
  metrics::Value* inflight_;
  int code_ = 0;
  size_t size_ = 0;
  Clock::time_point began_ = Clock::now();
  std::string schema_uid_, level_uid_;
  FlowControl::Seat seat_;
  std::unique_ptr<AuditedRequest> audited_;
  std::shared_ptr<RequestInfo> copy_;  // of the request, with the inner exchange
  bool is_list_;
  std::shared_ptr<base::http::GzipStream> packing_;
  std::vector<Bytes> unpacked_;
  size_t unpacked_bytes_ = 0;  // with what the compressor is at
  std::weak_ptr<std::function<void()>> drained_;
};

Front::Front(base::Loop& loop)
    : loop_(loop), flow_control_(loop, kSeats), compressor_(loop), self_(std::make_shared<Front*>(this)) {
  constexpr std::string_view kInflight = "apiserver_current_inflight_requests",
                             kHelp =
                                 "Maximal number of currently used inflight request limit of this apiserver "
                                 "per request kind in last second.";
  reading_ = &metrics_.gauge(kInflight, kHelp, {{"request_kind", "readOnly"}});
  mutating_ = &metrics_.gauge(kInflight, kHelp, {{"request_kind", "mutating"}});
  metrics::add_process_metrics(metrics_);
  metrics_.before_page([this] {
    for (const FlowControl::Counts& level : flow_control_.counts()) {
      metrics::Labels labels{{"priority_level", level.level}};
      auto gauge = [&](std::string_view name, std::string_view help, double value) {
        metrics_.gauge(name, help, labels).set(value);
      };
      gauge("apiserver_flowcontrol_nominal_limit_seats",
            "Nominal number of execution seats configured for each priority level", level.seats);
      gauge("apiserver_flowcontrol_current_executing_requests",
            "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API "
            "Priority and Fairness subsystem",
            level.executing);
      gauge("apiserver_flowcontrol_current_inqueue_requests",
            "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
            static_cast<double>(level.queued));
      metrics_
          .counter("apiserver_flowcontrol_dispatched_requests_total",
                   "Number of requests executed by API Priority and Fairness subsystem", labels)
          .set(static_cast<double>(level.dispatched));
      metrics_
          .counter("apiserver_flowcontrol_rejected_requests_total",
                   "Number of requests rejected by API Priority and Fairness subsystem", labels)
          .set(static_cast<double>(level.rejected));
    }
    if (log_) {
      metrics_
          .counter("apiserver_audit_event_total",
                   "Counter of audit events generated and sent to the audit backend.")
          .set(static_cast<double>(log_->events()));
      metrics_
          .counter("apiserver_audit_error_total",
                   "Counter of audit events that failed to be audited properly. Plugin identifies the plugin "
                   "affected by the error.",
                   {{"plugin", "log"}})
          .set(static_cast<double>(log_->errors()));
    }
  });
}
Front::~Front() { *self_ = nullptr; }

void Front::audit(AuditPolicy policy, std::unique_ptr<AuditLog> log) {
  policy_ = std::make_unique<AuditPolicy>(std::move(policy));
  log_ = std::move(log);
}

Front::Series& Front::series_of(const RequestInfo& request) {
  std::string_view verb = verb_label(request);
  const ResourceInfo* resource = request.resource.get();
  std::string_view sub = resource ? std::string_view(resource->remote ? "" : request.subresource.c_str())
                                  : path_label(request.http().path());
  // kube-apiserver's words: a request for one object, for a namespace's, for all.
  std::string_view scope = !resource                                           ? ""
                           : !request.name.empty() || request.verb == "create" ? "resource"
                           : resource->namespaced && !request.ns.empty()       ? "namespace"
                                                                               : "cluster";
  std::string key;
  key.reserve(64);
  key.append(verb).append("|").append(sub).append("|").append(scope).append(request.dry_run() ? "|All|"
                                                                                              : "||");
  if (resource)
    key.append(resource->group_version()).append("/").append(resource->remote ? "" : resource->plural);
  auto& slot = series_[key];
  if (slot) return *slot;
  slot = std::make_unique<Series>();
  Series& s = *slot;
  s.registry = &metrics_;
  s.verb = verb;
  s.subresource = sub;
  s.scope = scope;
  if (request.dry_run()) s.dry_run = "All";
  if (resource) {
    s.group = resource->group;
    s.version = resource->version;
    if (!resource->remote) s.resource = resource->plural;  // else any word: clients don't make series
  }
  metrics::Labels labels{{"component", "apiserver"}, {"dry_run", s.dry_run}, {"group", s.group},
                         {"resource", s.resource},   {"scope", s.scope},     {"subresource", s.subresource},
                         {"verb", s.verb},           {"version", s.version}};
  s.duration = &metrics_.histogram("apiserver_request_duration_seconds",
                                   "Response latency distribution in seconds for each verb, dry run value, "
                                   "group, version, resource, subresource, scope and component.",
                                   kDurations, labels);
  labels.erase(labels.begin() + 1);  // dry_run
  if (verb == "GET" || verb == "LIST")
    s.size = &metrics_.histogram("apiserver_response_sizes",
                                 "Response size distribution in bytes for each group, version, verb, "
                                 "resource, subresource, scope and component.",
                                 kSizes, labels);
  if (long_running(request))
    s.running =
        &metrics_.gauge("apiserver_longrunning_requests",
                        "Gauge of all active long-running apiserver requests broken out by verb, group, "
                        "version, resource, scope and component. Not all requests are tracked this way.",
                        labels);
  if (verb == "WATCH")
    s.events = &metrics_.counter("apiserver_watch_events_total", "Number of events sent in watch clients",
                                 {{"group", s.group}, {"resource", s.resource}, {"version", s.version}});
  return s;
}

void Front::observe_store(std::string_view operation, std::string_view type, double seconds) {
  std::string key = std::string(operation).append(" ").append(type);
  auto& slot = store_series_[key];
  if (!slot)
    slot = &metrics_.histogram("etcd_request_duration_seconds",
                               "Etcd request latency in seconds for each operation and object type.",
                               kStoreDurations, {{"operation", operation}, {"type", type}});
  slot->observe(seconds);
}

void Front::enter(const RequestPtr& request, bool is_local, std::function<void()> go) {
  Series& series = series_of(*request);
  bool endless = long_running(*request);
  std::string_view verb = request->verb;
  bool reads = !request->resource || verb == "get" || verb == "list" || verb == "watch";
  auto inner = request->exchange;
  auto observed =
      std::make_shared<Observed>(self_, inner, &series, endless,
                                 endless ? nullptr
                                 : reads ? reading_
                                         : mutating_,
                                 verb == "list" && request->resource && !request->resource->remote);
  if (endless && series.running) series.running->add();
  request->exchange = observed;
  if (policy_) {
    if (AuditPolicy::Decision decision = policy_->decide(*request); decision.level != AuditLevel::kNone) {
      auto audited = std::make_unique<AuditedRequest>();
      audited->decision = std::move(decision);
      audited->received = base::wall_now();
      audited->id = request->http().headers.get("Audit-ID");
      if (audited->id.empty() || audited->id.size() > 64) audited->id = base::new_uuid();
      request->audit_annotations = std::make_shared<std::map<std::string, std::string>>();
      auto copy = std::make_shared<RequestInfo>(*request);
      copy->exchange = inner;
      if (!audited->decision.omits(kRequestReceived))
        log_->append(audit_event(kRequestReceived, *copy, *audited, audited->received));
      observed->set_audit(std::move(audited), std::move(copy));
    }
  }
  if (is_local) return go();
  FlowControl::Flow flow = flow_control_.classify(*request);
  observed->set_flow(flow);
  flow_control_.admit(
      flow,
      [observed = std::weak_ptr<Observed>(observed), request, go = std::move(go)](FlowControl::Seat seat) {
        auto held = observed.lock();
        if (!held || held->closed()) return;  // the client went while it waited
        held->hold(std::move(seat));
        go();
      },
      [&] {
        base::json::value status =
            api::make_status(429, "TooManyRequests", "too many requests, please try again later");
        base::json::value& details = status.get_object()["details"];
        if (!details.is_object()) details = base::json::object();
        details.get_object()["retryAfterSeconds"] = 1;
        Headers headers;
        headers.add("Content-Type", "application/json");
        headers.add("Retry-After", "1");
        request->exchange->respond(429, std::move(headers), base::to_json(status));
      });
}

}  // namespace master
