#include "master/auth/service_account_tokens.h"

#include "base/base64.h"
#include "base/http/whole_answer.h"
#include "master/auth/authenticator.h"
#include "server_fixture.h"

namespace master {
namespace {

namespace json = base::json;
using base::string_at;

TEST(Jws, SignsAndVerifiesWithItsOwnKeyOnly) {
  auto key = jws::Key::read(jws::Key::make("ES256").value()).value(),
       other = jws::Key::read(jws::Key::make("ES256").value()).value();
  std::string token = key.sign(R"({"a":1})").value();
  EXPECT_EQ(jws::verify(token, {other, key}).value(), R"({"a":1})");
  EXPECT_EQ(jws::verify(token, {other}).error().kind, base::Kind::kDenied);
  for (size_t i = 0; i < token.size(); i += 7) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(jws::verify(changed, {key}).ok()) << i;
  }
  // "none" and another algorithm than the key's prove nothing.
  std::string body = token.substr(token.find('.'));
  EXPECT_FALSE(jws::verify(base::base64url_encode(R"({"alg":"none"})") + body, {key}).ok());
  EXPECT_FALSE(jws::verify(base::base64url_encode(R"({"alg":"HS256"})") + body, {key}).ok());
  for (const char* bad : {"", ".", "..", "a.b", "a.b.c.d", "====.=.="})
    EXPECT_FALSE(jws::verify(bad, {key}).ok()) << bad;
  EXPECT_EQ(string_at(key.jwk(), "kty"), "EC");
  EXPECT_EQ(string_at(key.jwk(), "x").size(), 43u);
}

TEST(Jws, RsaKeysSignAndVerifyToo) {
  auto rsa = jws::Key::read(jws::Key::make("RS256").value()).value(),
       ec = jws::Key::read(jws::Key::make("ES256").value()).value();
  std::string token = rsa.sign(R"({"a":1})").value();
  EXPECT_EQ(jws::verify(token, {ec, rsa}).value(), R"({"a":1})");
  EXPECT_EQ(jws::verify(token, {ec}).error().kind, base::Kind::kDenied);
  EXPECT_EQ(string_at(rsa.jwk(), "kty"), "RSA");
  EXPECT_EQ(string_at(rsa.jwk(), "alg"), "RS256");
  EXPECT_EQ(string_at(rsa.jwk(), "e"), "AQAB");
  EXPECT_EQ(string_at(rsa.jwk(), "n").size(), 342u);
}

TEST(AccountKeys, AreMadeOnceAndVerifyAfterTheirAlgorithmChanged) {
  std::string dir = ::testing::TempDir() + "account-keys-" + std::to_string(::getpid());
  ASSERT_TRUE(base::sys::remove_all(dir).ok() && base::sys::mkdir_all(dir).ok());
  auto first = load_or_make_account_keys(dir, "ES256").value();
  ASSERT_EQ(first.size(), 1u);
  std::string token = first[0].sign("{}").value();
  auto changed = load_or_make_account_keys(dir, "RS256").value();
  ASSERT_EQ(changed.size(), 2u);
  EXPECT_STREQ(changed[0].algorithm(), "RS256");
  EXPECT_TRUE(jws::verify(token, changed).ok());
  auto again = load_or_make_account_keys(dir, "RS256").value();
  EXPECT_EQ(again[0].id(), changed[0].id());
  EXPECT_EQ(again.size(), 2u);
  ASSERT_TRUE(base::sys::remove_all(dir).ok());
}

TEST(TokenFile, Lines) {
  auto users = read_token_file("t1,bob,u1,\"dev,ops\"\n# a comment\n\nt2,\"e,ve\",u2\n").value();
  EXPECT_EQ(users.at("t1").groups, (std::vector<std::string>{"dev", "ops", "system:authenticated"}));
  EXPECT_EQ(users.at("t2").name, "e,ve");
  EXPECT_NE(read_token_file("t1,bob,u1\nt2,eve\n").error().message().find("line 2"), std::string::npos);
}

class TokenTest : public ServerTest {
 protected:
  void configure(ServerOptions& options) override {
    if (key_.empty()) key_ = jws::Key::make("ES256").value();
    options.tokens = {issuer_, {jws::Key::read(key_).value()}, former_, audiences_};
    options.static_tokens = read_token_file("static-token,carol,u,\"dev\"").value();
  }
  // Through the front door, where credentials count.
  base::http::Response with_token(std::string target, const std::string& token) {
    base::http::Request http;
    http.target = std::move(target);
    return through_front_door(std::move(http), token);
  }
  std::string who(const std::string& token) {
    base::http::Request http;
    http.method = "POST";
    http.target = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    http.body = "{}";
    http.headers.add("Content-Type", "application/json");
    auto response = through_front_door(std::move(http), token);
    if (response.status != 201) return std::to_string(response.status);
    return std::string(string_at(base::parse_json(response.body).value(), "status", "userInfo", "username"));
  }
  json::value request_token(const std::string& account, const std::string& spec = "{}", int status = 201) {
    return ok(call("POST", "/api/v1/namespaces/default/serviceaccounts/" + account + "/token",
                   R"({"spec":)" + spec + "}"),
              status);
  }
  void account(const std::string& name) {
    ok(call("POST", "/api/v1/namespaces/default/serviceaccounts",
            R"({"metadata":{"name":")" + name + R"("}})"),
       201);
  }
  struct FrontDoor final : base::http::WholeAnswerExchange {
    using WholeAnswerExchange::WholeAnswerExchange;
    base::http::Response response{0, {}, {}};
    void respond(int status, base::http::Headers, std::vector<base::http::Bytes> body) override {
      for (const auto& part : body) response.body += *part;
      response.status = status;
    }
  };
  base::http::Response through_front_door(base::http::Request http, const std::string& token) {
    if (!token.empty()) http.headers.add("Authorization", "Bearer " + token);
    auto exchange = std::make_shared<FrontDoor>(std::move(http));
    server_->handle(exchange);
    wait_for([&] { return exchange->response.status != 0; });
    return exchange->response;
  }
  std::string issuer_ = "https://issuer.example";
  std::vector<std::string> former_, audiences_;
  std::string key_;
};

TEST_F(TokenTest, AnAccountsTokenIsItsIdentityUntilTheAccountGoes) {
  account("robot");
  std::string token(string_at(request_token("robot"), "status", "token"));
  EXPECT_EQ(who(token), "system:serviceaccount:default:robot");
  EXPECT_EQ(who(token), "system:serviceaccount:default:robot");  // from memory
  EXPECT_EQ(with_token(kMaps, token).status, 403);
  EXPECT_EQ(with_token(kMaps, token + "x").status, 401);
  EXPECT_EQ(who(""), "403");
  reopen();
  EXPECT_EQ(who(token), "system:serviceaccount:default:robot");
  ok(call("DELETE", "/api/v1/namespaces/default/serviceaccounts/robot"));
  EXPECT_EQ(who(token), "401");
  account("robot");  // another of the same name
  EXPECT_EQ(who(token), "401");
}

TEST_F(TokenTest, ATokenEndsWithThePodItIsBoundTo) {
  account("robot");
  const char* pods = "/api/v1/namespaces/default/pods";
  auto pod = ok(
      call(
          "POST", pods,
          R"({"metadata":{"name":"p"},"spec":{"serviceAccountName":"robot","containers":[{"name":"c","image":"i"}]}})"),
      201);
  std::string uid(string_at(pod, "metadata", "uid"));
  std::string bound = R"({"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p","uid":")" + uid +
                      R"("},"expirationSeconds":3607})";
  auto answer = request_token("robot", bound);
  std::string token(string_at(answer, "status", "token"));
  auto claims = jws::peek(token).value();
  EXPECT_EQ(string_at(claims, "kubernetes.io", "pod", "uid"), uid);
  EXPECT_EQ(base::as_int(base::find(claims, "exp")) - base::as_int(base::find(claims, "iat")),
            365 * 24 * 3600);  // warns instead
  EXPECT_EQ(base::as_int(base::find_path(claims, "kubernetes.io", "warnafter")) -
                base::as_int(base::find(claims, "iat")),
            3607);
  EXPECT_EQ(who(token), "system:serviceaccount:default:robot");
  auto review = ok(
      call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", R"({"spec":{"token":")" + token + R"("}})"),
      201);
  EXPECT_TRUE(base::as_bool(base::find_path(review, "status", "authenticated")));
  EXPECT_EQ(base::to_json(
                *base::find_path(review, "status", "user", "extra", "authentication.kubernetes.io/pod-name")),
            R"(["p"])");
  EXPECT_EQ(base::to_json(*base::find_path(review, "status", "audiences")), R"(["https://issuer.example"])");
  EXPECT_NE(
      refused(
          call("POST", "/api/v1/namespaces/default/serviceaccounts/robot/token",
               R"({"spec":{"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p","uid":"other"}}})"),
          409)
          .find("does not match the UID"),
      std::string::npos);
  ok(call("DELETE", std::string(pods) + "/p"));
  EXPECT_EQ(who(token), "401");
}

TEST_F(TokenTest, AudiencesAndLimits) {
  account("robot");
  std::string token(string_at(request_token("robot", R"({"audiences":["vault"],"expirationSeconds":600})"),
                              "status", "token"));
  EXPECT_EQ(who(token), "401");
  auto vault = ok(call("POST", "/apis/authentication.k8s.io/v1/tokenreviews",
                       R"({"spec":{"token":")" + token + R"(","audiences":["vault","x"]}})"),
                  201);
  EXPECT_EQ(base::to_json(*base::find_path(vault, "status", "audiences")), R"(["vault"])");
  auto here = ok(
      call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", R"({"spec":{"token":")" + token + R"("}})"),
      201);
  EXPECT_FALSE(base::as_bool(base::find_path(here, "status", "authenticated")));
  EXPECT_NE(
      refused(call("POST", "/api/v1/namespaces/default/serviceaccounts/robot/token",
                   R"({"spec":{"expirationSeconds":599}})"),
              422)
          .find(
              "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"),
      std::string::npos);
  refused(call("POST", "/api/v1/namespaces/default/serviceaccounts/nope/token", "{}"), 404);
}

TEST_F(TokenTest, StaticAndBootstrapTokens) {
  EXPECT_EQ(who("static-token"), "carol");
  auto secret = [&](const std::string& extra) {
    return R"({"metadata":{"name":"bootstrap-token-abcdef","namespace":"kube-system"},"type":"bootstrap.kubernetes.io/token","stringData":{)"
           R"("token-id":"abcdef","token-secret":"0123456789abcdef","usage-bootstrap-authentication":"true")" +
           extra + "}}";
  };
  std::string secrets = "/api/v1/namespaces/kube-system/secrets";
  ok(call("POST", secrets, secret("")), 201);
  EXPECT_EQ(who("abcdef.0123456789abcdef"), "system:bootstrap:abcdef");
  EXPECT_EQ(who("abcdef.0123456789abcdeg"), "401");
  EXPECT_EQ(who("abcdeg.0123456789abcdef"), "401");
  ok(call("PUT", secrets + "/bootstrap-token-abcdef", secret(R"(,"expiration":"2020-01-01T00:00:00Z")")));
  EXPECT_EQ(who("abcdef.0123456789abcdef"), "401");
}

TEST_F(TokenTest, AnIssuerCanBeChanged) {
  account("robot");
  std::string before(string_at(request_token("robot"), "status", "token"));
  issuer_ = "https://new.example";
  reopen();
  EXPECT_EQ(who(before), "401");
  former_ = {"https://issuer.example"};
  audiences_ = {"https://new.example", "https://issuer.example"};
  reopen();
  EXPECT_EQ(who(before), "system:serviceaccount:default:robot");
  auto made = request_token("robot");
  EXPECT_EQ(base::to_json(made.at("spec").at("audiences")),
            R"(["https://new.example","https://issuer.example"])");
  EXPECT_EQ(who(std::string(string_at(made, "status", "token"))), "system:serviceaccount:default:robot");
}

TEST_F(TokenTest, TheKeysAreShownToThoseWhoMayKnow) {
  EXPECT_EQ(with_token("/openid/v1/jwks", "static-token").status, 403);
  account("robot");
  std::string token(string_at(request_token("robot"), "status", "token"));
  auto keys = base::parse_json(with_token("/openid/v1/jwks", token).body).value();
  EXPECT_EQ(string_at(keys.at("keys").at(0), "kid"), jws::Key::read(key_).value().id());
  auto about = base::parse_json(with_token("/.well-known/openid-configuration", token).body).value();
  EXPECT_EQ(string_at(about, "issuer"), "https://issuer.example");
}

}  // namespace
}  // namespace master
