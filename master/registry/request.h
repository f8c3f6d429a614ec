// A request as the API server sees it: who asks, for what, and how the answer shall look.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/http/server.h"
#include "master/registry/resource.h"

namespace master {

struct User {
  std::string name;
  std::vector<std::string> groups;
  std::string uid = {};
  std::map<std::string, std::vector<std::string>> extra = {};  // what the credential says besides
  bool in_group(std::string_view group) const;
};

// A query's boolean: only its absence, "0" and "false" in any case are no; "?follow" is yes.
bool is_true(std::string_view value);
constexpr size_t kMaxManagerName = 128;  // bytes of ?fieldManager=

// What "Accept" asks for, in the forms that clients use.
enum class Rendering : uint8_t { kObject, kTable, kPartialMetadata };

struct RequestInfo {
  std::shared_ptr<base::http::Exchange> exchange;
  User user;
  std::shared_ptr<const User> impersonator = {};  // who asks in the name of `user`
  std::string verb;                               // "get", "list", "watch", "create"…, for authorization
  ResourcePtr resource;                           // null: not a resource path
  std::string ns, name, subresource, rest;        // rest: behind the subresource
  std::vector<std::pair<std::string, std::string>> query;
  Rendering rendering = Rendering::kObject;
  std::string meta_version = "v1";  // of the Table or PartialObjectMetadata: v1beta1 for those who ask
  bool protobuf = false;            // answers go in protocol buffers where the object has that form
  std::vector<std::string> warnings;
  bool applies = false;   // a server-side apply: managedFields come with the object
  bool admitted = false;  // in the form it was sent in (a Scale, a Binding): not once more as what it changes
  // What the audit event shall say besides ("PLUGIN/key"); null when nothing is audited.
  std::shared_ptr<std::map<std::string, std::string>> audit_annotations = {};

  std::string_view param(std::string_view key) const;  // "" when absent
  bool flag(std::string_view key) const;               // is_true of the first one; absent: no
  void annotate(std::string key, std::string value) {
    if (audit_annotations) audit_annotations->insert_or_assign(std::move(key), std::move(value));
  }
  bool dry_run() const { return param("dryRun") == "All"; }
  const base::http::Request& http() const { return exchange->request(); }

  // The head of an answer: its type, and the warnings, as many as clients can bear.
  base::http::Headers headers(std::string_view content_type) const;
  void reply(int status, const base::json::value& body);
  // "": the form that was negotiated, which `body` has.
  void reply_bytes(int status, std::vector<base::http::Bytes> body, std::string_view content_type = {});
  void reply_status(const base::json::value& status);  // its "code" is the HTTP status
};
using RequestPtr = std::shared_ptr<RequestInfo>;

// What an answer says of its warnings: each once; where they are longer than 4096 characters together,
// each at most 256 of them, until there are 4096. As kube-apiserver does it.
std::vector<std::string> bounded_warnings(const std::vector<std::string>& warnings);

// exec, attach, portforward, proxy: what is answered is between the client and what it is connected to.
bool connects(std::string_view subresource);
bool long_running(const RequestInfo& request);  // endless by its nature: a watch, an exec
// Splits the path into resource, namespace, name…; false when the path is no resource path of ours.
// `method` decides the verb together with ?watch=.
bool parse_resource_path(const ResourceTable& table, std::string_view path, std::string_view method,
                         RequestInfo* info);
// What an answer can be besides a JSON object.
struct Renderable {
  bool table = true, protobuf = false;
};
// Sets how the answer goes out; false when nothing acceptable is asked for.
bool negotiate(std::string_view accept, Renderable can, RequestInfo* info);

}  // namespace master
