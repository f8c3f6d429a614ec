// The handlers: free functions that answer one request each, whose sender may ask for it and whose body is
// there. The verbs of every resource are called by server.cc; what answers for a subresource, or for a
// resource that is never stored, is added by its file. They change objects through the Registry alone. Loop
// thread only.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "master/registry/registry.h"

namespace master {

class ApiServer;

void serve_get(ApiServer& server, RequestPtr request);
void serve_list(ApiServer& server, RequestPtr request);
void serve_create(ApiServer& server, RequestPtr request);
void serve_update(ApiServer& server, RequestPtr request);
void serve_patch(ApiServer& server, RequestPtr request);
void serve_apply(ApiServer& server, RequestPtr request);  // a patch that is a manifest
void serve_delete(ApiServer& server, RequestPtr request);
void serve_delete_collection(ApiServer& server, RequestPtr request);
void serve_scale(ApiServer& server, RequestPtr request);

void add_pod_handlers(ApiServer& server);        // pod_subresources.cc: binding, eviction, parts of the spec
void add_stream_handlers(ApiServer& server);     // node_proxy.cc: log, exec, attach, port-forward
void add_proxy_handlers(ApiServer& server);      // proxy.cc
void add_review_handlers(ApiServer& server);     // reviews.cc
void add_token_handlers(ApiServer& server);      // token_request.cc
void add_namespace_handlers(ApiServer& server);  // namespace_finalize.cc
void add_metrics_handlers(ApiServer& server);    // metrics_api.cc
// The key set and issuer of tokens; false when the path is another.
bool serve_openid(const ApiServer& server, const RequestPtr& request);

// ---- what they share -------------------------------------------------------------------------

// Decodes and checks the body; false when the request has been answered (request_body.cc).
bool decode_body(RequestInfo& request, const api::Type& type, std::string_view kind, base::json::value* out);
std::string_view media_type(const RequestInfo& request);  // of the body, without parameters
// CreateOptions, UpdateOptions or PatchOptions; null or the Status that refuses.
base::json::value check_write_options(const RequestInfo& request);
// Types, then unknown and duplicate fields, as fieldValidation asks; what is wrong, "" if nothing.
std::string check_fields(RequestInfo& request, const api::Type& type, base::json::value& object,
                         const std::vector<std::string>& duplicates);

// An update or apply that is going to create needs the permission for that as well; null or the Status that
// refuses (write.cc).
base::json::value check_may_create(const ApiServer& server, const RequestInfo& request);

// read.cc. An object as the request wants it: its version and its rendering.
Bytes render(const RequestInfo& request, const StoredObject& object, bool with_columns);
// Calls `then` when all of them can be shown in the request's version: at once but where a webhook has to
// convert some. When it can't, the request is answered.
void when_shown(const RequestPtr& request, const std::vector<ObjectRef>& objects, std::function<void()> then);
void reply_list(base::Loop& loop, RequestPtr request, base::json::object metadata,
                std::vector<ObjectRef> matched);
void reply_written(RequestPtr request, int code, const Registry::Outcome& outcome);

// connect.cc. Admits what was sent to the request's subresource; `then` gets it as it was admitted, a refusal
// is answered.
using Admitted = std::function<void(const base::json::value& admitted)>;
void admit_body(Registry& registry, RequestPtr request, Operation operation, base::json::value object,
                base::json::value old, Admitted then);
// Admits a CONNECT; `then` gets the options as they were admitted.
void admit_connect(ApiServer& server, RequestPtr request, Admitted then);

}  // namespace master
