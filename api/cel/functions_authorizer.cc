#include "api/cel/authorizer.h"

#include "api/cel/functions.h"

namespace api::cel {
namespace {

using C = Context&;
using A = const Value*;

constexpr const char *kAuthorizer = "kubernetes.authorization.Authorizer",
                     *kPath = "kubernetes.authorization.PathCheck",
                     *kGroup = "kubernetes.authorization.GroupCheck",
                     *kResource = "kubernetes.authorization.ResourceCheck",
                     *kDecision = "kubernetes.authorization.Decision";
constexpr uint64_t kCheckCost = 350'000;  // as upstream counts a check: at most a few an expression

// Each step is one of these, with more of the question known.
struct Check : Opaque {
  const char* type = kAuthorizer;
  const Authorizer* by = nullptr;
  Question question;
  bool allowed = false;
  std::string reason;
  std::string_view type_name() const override { return type; }
  bool equals(const Opaque&) const override { return false; }
};
const Check& check_of(const Value& in) { return *opaque_as<Check>(in); }
template <typename Change>
bool next(A a, const char* type, Value* out, Change change) {
  auto made = std::make_shared<Check>(check_of(a[0]));
  made->type = type;
  change(made->question);
  return *out = of_opaque(std::move(made)), true;
}
bool path(C c, const Node&, A a, size_t, Value* out) {
  if (a[1].text.empty()) return c.fail("path must not be empty");
  return next(a, kPath, out, [&](Question& q) { q.is_resource = false, q.path = a[1].text; });
}
bool group(C, const Node&, A a, size_t, Value* out) {
  return next(a, kGroup, out, [&](Question& q) { q.group = a[1].text; });
}
bool account(C, const Node&, A a, size_t, Value* out) {
  return next(a, kAuthorizer, out, [&](Question& q) {
    q.service_account = std::string(a[1].text) + "/" + std::string(a[2].text);
  });
}
bool resource(C, const Node&, A a, size_t, Value* out) {
  return next(a, kResource, out, [&](Question& q) { q.resource = a[1].text; });
}
bool subresource(C, const Node&, A a, size_t, Value* out) {
  return next(a, kResource, out, [&](Question& q) { q.subresource = a[1].text; });
}
bool in_namespace(C, const Node&, A a, size_t, Value* out) {
  return next(a, kResource, out, [&](Question& q) { q.ns = a[1].text; });
}
bool name(C, const Node&, A a, size_t, Value* out) {
  return next(a, kResource, out, [&](Question& q) { q.name = a[1].text; });
}
bool check(C c, const Node&, A a, size_t, Value* out) {
  if (!c.charge(kCheckCost)) return false;
  auto made = std::make_shared<Check>(check_of(a[0]));
  made->type = kDecision;
  made->question.verb = a[1].text;
  made->allowed = made->by->allows(made->question, &made->reason);
  return *out = of_opaque(std::move(made)), true;
}
bool allowed(C, const Node&, A a, size_t, Value* out) {
  return *out = Value::of(check_of(a[0]).allowed), true;
}
bool reason(C, const Node&, A a, size_t, Value* out) {
  return *out = Value::of_text(check_of(a[0]).reason), true;
}
bool errored(C, const Node&, A, size_t, Value* out) { return *out = Value::of(false), true; }
bool error(C, const Node&, A, size_t, Value* out) { return *out = Value::of_view(""), true; }

constexpr Row kAuthorizerRows[] = {
    {"kubernetes.authorization.Authorizer.path(string) kubernetes.authorization.PathCheck", path},
    {"kubernetes.authorization.Authorizer.group(string) kubernetes.authorization.GroupCheck", group},
    {"kubernetes.authorization.Authorizer.serviceAccount(string, string) kubernetes.authorization.Authorizer",
     account},
    {"kubernetes.authorization.GroupCheck.resource(string) kubernetes.authorization.ResourceCheck", resource},
    {"kubernetes.authorization.ResourceCheck.subresource(string) kubernetes.authorization.ResourceCheck",
     subresource},
    {"kubernetes.authorization.ResourceCheck.namespace(string) kubernetes.authorization.ResourceCheck",
     in_namespace},
    {"kubernetes.authorization.ResourceCheck.name(string) kubernetes.authorization.ResourceCheck", name},
    {"kubernetes.authorization.PathCheck.check(string) kubernetes.authorization.Decision", check},
    {"kubernetes.authorization.ResourceCheck.check(string) kubernetes.authorization.Decision", check},
    {"kubernetes.authorization.Decision.allowed() bool", allowed},
    {"kubernetes.authorization.Decision.reason() string", reason},
    {"kubernetes.authorization.Decision.errored() bool", errored},
    {"kubernetes.authorization.Decision.error() string", error},
};

Value made(const char* type, const Authorizer& by, Question question) {
  auto check = std::make_shared<Check>();
  check->type = type;
  check->by = &by;
  check->question = std::move(question);
  return of_opaque(std::move(check));
}

}  // namespace

std::span<const Row> authorizer_functions() { return kAuthorizerRows; }
TypeRef authorizer_type() { return opaque(kAuthorizer); }
TypeRef resource_check_type() { return opaque(kResource); }
Value authorizer_value(const Authorizer& by) { return made(kAuthorizer, by, {}); }
Value resource_check(const Authorizer& by, Question question) {
  return made(kResource, by, std::move(question));
}

}  // namespace api::cel
