#include "tests/fuzz/targets.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "api/cel/cel.h"
#include "api/cel/constructed.h"
#include "api/custom/custom.h"
#include "api/defaults.h"
#include "api/patch/field_set.h"
#include "api/patch/patch.h"
#include "api/protobuf.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "api/structural.h"
#include "api/validate/custom.h"
#include "api/walk.h"
#include "api/yaml.h"
#include "base/http/connection.h"
#include "base/json.h"
#include "base/sys.h"

namespace fuzz {

using base::json::value;

namespace {
std::string_view current;
}
void run(const Target& target, std::string_view input) {
  current = input;
  target.run(input);
}
void check(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "fuzz: %s: ", what);
  for (unsigned char c : current)
    std::fprintf(stderr, c >= 0x20 && c < 0x7f && c != '\\' ? "%c" : "\\x%02x", c);
  std::fprintf(stderr, "\n");
  std::abort();
}

namespace {

// A server's connection over a socket pair: the input comes in two pieces, then the end.
void connection(std::string_view first, std::string_view input,
                std::shared_ptr<base::http::ServerConnection> (*make)(base::http::Accepted)) {
  base::Loop loop;
  base::http::Server::Options options;
  options.max_body_bytes = 4096;
  int answered = 0;
  auto server = std::make_shared<base::http::Server::Impl>(
      loop, nullptr, options, base::http::with_bodies([&](std::shared_ptr<base::http::Exchange> exchange) {
        check(++answered <= 100'000, "more requests than bytes");
        check(exchange->request().body.size() <= 4096, "a body beyond the limit");
        if (exchange->request().path() == "/drop") return;
        if (exchange->request().path() == "/stream") {
          exchange->start(200, {});
          exchange->write(base::http::bytes("chunk"));
          return exchange->finish();
        }
        exchange->respond(200, {}, exchange->request().method + exchange->request().target);
      }));
  auto pair = base::sys::socketpair(SOCK_STREAM | SOCK_NONBLOCK);
  check(pair.ok(), "socketpair");
  base::http::Accepted accepted;
  accepted.server = server;
  accepted.transport = std::make_unique<base::http::Transport>(loop, std::move(pair->read), nullptr, true);
  accepted.max_body_bytes = options.max_body_bytes;
  server->add(make(std::move(accepted)));
  char drain[65536];
  auto turn = [&] {
    loop.run_once(base::Duration::zero());
    while (::recv(pair->write.get(), drain, sizeof drain, MSG_DONTWAIT) > 0) {
    }
  };
  size_t half = input.empty() ? 0 : static_cast<unsigned char>(input[0]) * input.size() / 256;
  for (std::string_view piece : {first, input.substr(0, half), input.substr(half)}) {
    for (int i = 0; i < 1000 && !piece.empty(); ++i) {
      ssize_t n = ::send(pair->write.get(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) piece.remove_prefix(static_cast<size_t>(n));
      if (n < 0 && errno != EAGAIN) break;
      turn();
    }
    turn();
  }
  ::shutdown(pair->write.get(), SHUT_WR);
  for (int i = 0; i < 1000 && !server->connections.empty(); ++i) turn();
  pair->write.reset();
  for (int i = 0; i < 100 && !server->connections.empty(); ++i) turn();
  check(server->connections.empty(), "a connection outlives its peer");
  server.reset();
  turn();
}

bool two(std::string_view input, value* document, value* patch) {
  size_t zero = input.find('\0');
  if (zero == std::string_view::npos) return false;
  auto a = base::parse_json(input.substr(0, zero)), b = base::parse_json(input.substr(zero + 1));
  if (!a.ok() || !b.ok() || !a->is_object()) return false;
  *document = std::move(*a);
  *patch = std::move(*b);
  return true;
}
const api::Type& pod() {
  static const api::Type* type = api::find_type("io.k8s.api.core.v1", "Pod");
  check(type != nullptr, "no type Pod");
  return *type;
}

}  // namespace

const std::vector<Target>& targets() {
  static const std::vector<Target> all = {{"http1", http1},
                                          {"http2", http2},
                                          {"json", json},
                                          {"yaml", yaml},
                                          {"protobuf", protobuf},
                                          {"json_patch", json_patch},
                                          {"merge_patch", merge_patch},
                                          {"strategic_patch", strategic_patch},
                                          {"apply_patch", apply_patch},
                                          {"custom_kind", custom_kind},
                                          {"cel", cel},
                                          {"mutation", mutation},
                                          {"selector", selector},
                                          {"quantity", quantity}};
  return all;
}

void http1(std::string_view input) { connection({}, input, base::http::make_http1_connection); }
void http2(std::string_view input) {
  // Nothing gets past the preface but the preface.
  static constexpr char kHello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
  connection(std::string_view(kHello, sizeof kHello - 1), input, base::http::make_http2_connection);
}

void json(std::string_view input) {
  std::vector<std::string> duplicates;
  auto parsed = base::parse_json(input, &duplicates);
  if (!parsed.ok()) return;
  std::string text = base::to_json(*parsed);
  auto again = base::parse_json(text);
  check(again.ok(), "what was written is not read");
  // Fractions may be rounded once more.
  if (text.find_first_of(".eE") == std::string::npos)
    check(base::to_json(*again) == text, "text is no fixed point");
}
void yaml(std::string_view input) {
  if (input.size() > (64 << 10)) return;
  std::vector<std::string> duplicates;
  auto parsed = api::parse_yaml(input, &duplicates);
  if (!parsed.ok()) return check(!parsed.error().reason.empty(), "a refusal without a reason");
  for (const value& document : *parsed)
    check(base::parse_json(base::to_json(document)).ok(), "what YAML says is no JSON");
}
void protobuf(std::string_view input) {
  auto object = api::protobuf_to_json(pod(), input);
  if (object.ok())
    check(base::to_json(*object).size() <= (input.size() + 64) * 64, "an object far larger than its bytes");
}

void json_patch(std::string_view input) {
  value document, patch;
  if (two(input, &document, &patch)) (void)api::json_patch(document, patch).ok();
}
void merge_patch(std::string_view input) {
  value document, patch;
  if (!two(input, &document, &patch)) return;
  value once = api::merge_patch(document, patch);
  check(api::merge_patch(once, patch) == once, "a merge patch applied twice does more than once");
}
void strategic_patch(std::string_view input) {
  value document, patch;
  if (two(input, &document, &patch)) (void)api::strategic_merge_patch(pod(), document, patch).ok();
}
void apply_patch(std::string_view input) {
  value document, patch;
  if (!two(input, &document, &patch)) return;
  api::FieldManager manager{"fuzz", "v1", "", base::Time{}};
  auto forced = api::apply_patch(pod(), document, patch, manager, true);
  if (forced.ok()) check(forced->conflicts.empty(), "a forced apply has conflicts");
}

void custom_kind(std::string_view input) {
  value definition, object;
  if (!two(input, &definition, &object) || !object.is_object()) return;
  api::defaults("apiextensions.k8s.io/v1/CustomResourceDefinition", definition);
  if (!api::validate_custom_resource_definition(definition, nullptr).empty()) return;
  auto kind = api::compile_custom_kind(definition, "v1");
  if (!kind.ok()) return;
  const api::Type& type = (*kind)->type;
  api::prune(type, object);
  api::apply_defaults(type, object);
  value filled = object;
  api::prune(type, object);
  api::apply_defaults(type, object);
  check(object == filled, "pruning and defaults twice do more than once");
  // A rule may ask for a change.
  if (!(*kind)->root.rules_below)
    check(api::validate_custom_object(type, object, &object).empty(), "what did not change is refused");
  else (void)api::validate_custom_object(type, object, &object);
  (void)api::validate_custom_object(type, object, nullptr);
  (void)api::fields_of(type, object);
}
void cel(std::string_view input) {
  static const value object =
      base::parse_json(
          R"({"s": "text", "i": 3, "d": 0.5, "b": true, "n": null, "l": [1, "a", {"k": 2}], "m": {"x": {"y": [1, 2]}}})")
          .value();
  auto program = api::cel::compile(input, {{"self", api::cel::simple(api::cel::Kind::dyn)}});
  if (!program.ok()) return check(!program.error().reason.empty(), "a refusal without a reason");
  uint64_t cost = 0, again = 0;
  auto first = (*program)->evaluate({api::cel::Value::of_json(object)}, 20'000, &cost);
  auto second = (*program)->evaluate({api::cel::Value::of_json(object)}, 20'000, &again);
  check(cost == again && first.ok() == second.ok(), "two evaluations differ");
  if (first.ok()) check(api::cel::shown(*first) == api::cel::shown(*second), "two results differ");
}
void mutation(std::string_view input) {
  static const value object =
      base::parse_json(
          R"({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})")
          .value();
  auto program = api::cel::compile(input, {{"object", api::cel::simple(api::cel::Kind::dyn)}},
                                   api::cel::Constructors::kPatches);
  if (!program.ok()) return check(!program.error().reason.empty(), "a refusal without a reason");
  uint64_t cost = 0;
  auto made = (*program)->evaluate({api::cel::Value::of_json(object)}, 20'000, &cost);
  if (!made.ok()) return;
  auto json = api::cel::json_of(*made);
  if (!json.ok()) return check(!json.error().reason.empty(), "a refusal without a reason");
  auto merged = api::merge_configuration(pod(), object, *json);
  if (!merged.ok()) return;
  check(api::check_types(pod(), *merged).ok(), "what was merged is no Pod");
  auto again = api::merge_configuration(pod(), *merged, *json);
  check(again.ok() && *again == *merged, "merging twice does more than once");
}
void selector(std::string_view input) {
  auto labels = api::parse_selector(input);
  if (labels.ok()) (void)labels->matches({{"app", "web"}, {"tier", ""}});
  (void)api::parse_field_selector(input).ok();
}
void quantity(std::string_view input) {
  auto parsed = api::Quantity::parse(input);
  if (!parsed.ok()) return;
  std::string text = parsed->text();
  auto again = api::Quantity::parse(text);
  check(again.ok(), "a canonical quantity is refused");
  check(again->text() == text, "a canonical quantity is no fixed point");
  check(*again == *parsed, "a canonical quantity is another amount");
}

}  // namespace fuzz
