// CEL: an expression and what it comes to, a line each; compile errors in cel-go's words; bounds.
#include "api/cel/cel.h"
#include "api/custom/custom.h"

#include <gtest/gtest.h>

namespace api::cel {
namespace {

const json::value& sample() {
  static const json::value object = base::parse_json(R"({
    "name": "web", "replicas": 3, "ratio": 0.5, "on": true, "none": null, "tags": ["a", "b", "b"],
    "labels": {"app": "web", "tier": "front"}, "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}]})")
                                        .value();
  return object;
}
// What `text` comes to with `self` untyped; errors behind "error: ".
std::string come_to(std::string_view text) {
  auto program = compile(text, {{"self", simple(Kind::dyn)}});
  if (!program.ok()) return "compile: " + program.error().reason;
  uint64_t cost = 0;
  auto value = (*program)->evaluate({Value::of_json(sample())}, kExpressionBudget, &cost);
  return value.ok() ? shown(*value) : "error: " + value.error().reason;
}

struct Case {
  const char *text, *result;
};
void all(std::initializer_list<Case> cases) {
  for (const Case& one : cases) EXPECT_EQ(come_to(one.text), one.result) << one.text;
}

TEST(Cel, LiteralsAndOperators) {
  all({{"1 + 2 * 3 - 4 / 2 % 3", "5"},
       {"-9223372036854775808", "-9223372036854775808"},
       {"9223372036854775807 + 1", "error: integer overflow"},
       {"0x1F + 1", "32"},
       {"7u % 4u", "3u"},
       {"1.5e1 / 2.0", "7.5"},
       {"10 / 0", "error: division by zero"},
       {"'a' + \"b\" + r'\\n' + '''c'd''' + '\\u00e9\\x41'", "\"ab\\\\nc'déA\""},
       {"b'abc' == bytes('abc')", "true"},
       {"!true || !!true", "true"},
       {"1 < 2 && 2u > 1 && 1.0 <= 1 && 'a' < 'b'", "true"},
       {"1 == 1.0 || dyn(1) == 1.0",
        "compile: ERROR: <input>:1:3: found no matching overload for '_==_' applied to '(int, double)'\n | 1 "
        "== 1.0 || dyn(1) == 1.0\n | ..^"},
       {"dyn(1) == 1.0 && dyn(1u) == 1", "true"},
       {"true ? 'y' : 'n'", "\"y\""},
       {"2 in [1, 2] && !('c' in self.tags) && 'app' in self.labels", "true"},
       {"[1, 2] + [3] == [1, 2, 3] && {'a': 1}['a'] == 1", "true"},
       {"null == self.none && type(1) == int && type('') != bytes", "true"}});
}

TEST(Cel, AbsorbsErrorsThatDoNotDecide) {
  all({{"self.missing == 1 || true", "true"},
       {"false && self.missing == 1", "false"},
       {"self.missing == 1 && false", "false"},
       {"self.missing == 1 || false", "error: no such key: missing"},
       {"self.tags.all(t, t == 'a' && self.missing)", "false"},
       {"self.tags.exists(t, t == 'b' || self.missing)", "true"}});
}

TEST(Cel, FieldsAndOptionals) {
  all({{"has(self.name) && !has(self.missing) && has(self.none)", "true"},
       {"self['name'] + self.ports[1].name", "\"webhttps\""},
       {"self.ports[2]", "error: index out of bounds: 2"},
       {"self.labels.nope", "error: no such key: nope"},
       {"self.name.x", "error: no such overload"},
       {"self.?labels.?app.orValue('none') + self.?nope.?app.orValue('-')", "\"web-\""},
       {"self.labels[?'tier'].value() + self.tags[?7].orValue('x')", "\"frontx\""},
       {"optional.none().hasValue() || optional.of(1).hasValue()", "true"},
       {"optional.ofNonZeroValue('').or(optional.of('d')).value()", "\"d\""},
       {"self.?name.optMap(n, n + '!').orValue('')", "\"web!\""},
       {"[?self.?name, ?self.?nope] == [dyn('web')] && {?'a': self.?nope}.size() == 0", "true"},
       {"optional.none().value()", "error: optional.none() dereference"}});
}

TEST(Cel, Macros) {
  all({{"self.ports.all(p, p.port > 0) && self.ports.exists(p, p.name == 'http')", "true"},
       {"self.tags.exists_one(t, t == 'a') && !self.tags.exists_one(t, t == 'b')", "true"},
       {"self.ports.map(p, p.port)", "[80, 443]"},
       {"self.ports.map(p, p.port > 100, p.name)", "[\"https\"]"},
       {"self.tags.filter(t, t != 'b')", "[\"a\"]"},
       {"self.labels.map(k, k)", "[\"app\", \"tier\"]"},
       {"self.labels.all(k, v, k != v)", "true"},
       {"self.tags.transformList(i, t, string(i) + t)", "[\"0a\", \"1b\", \"2b\"]"},
       {"self.labels.transformMap(k, v, k == 'app', v + '!')", "{\"app\": \"web!\"}"},
       {"{'x': 1}.transformMapEntry(k, v, {string(v): k})", "{\"1\": \"x\"}"},
       {"cel.bind(n, self.replicas * 2, n + n)", "12"},
       {"[[1, 2], [3]].map(l, l.map(x, x * 2))", "[[2, 4], [6]]"},
       {"[3, 1, 2].sortBy(x, -x)", "[3, 2, 1]"}});
}

TEST(Cel, Strings) {
  all({{"'héllo'.size() == 5 && size('') == 0", "true"},
       {"'héllo'.charAt(1) + 'héllo'.substring(2, 4) + 'abc'.substring(1)", "\"éllbc\""},
       {"'abcabc'.indexOf('c') * 100 + 'abcabc'.lastIndexOf('a') * 10 + 'abcabc'.indexOf('c', 3)", "235"},
       {"'abc'.charAt(9)", "error: index out of range: 9"},
       {"'AbC'.lowerAscii() + 'AbC'.upperAscii() + ' x '.trim() + 'abc'.reverse()", "\"abcABCxcba\""},
       {"'a,b,,c'.split(',')", "[\"a\", \"b\", \"\", \"c\"]"},
       {"'a,b,c'.split(',', 2)", "[\"a\", \"b,c\"]"},
       {"'abc'.split('')", "[\"a\", \"b\", \"c\"]"},
       {"'aaa'.replace('a', 'b', 2) + ['x', 'y'].join('-')", "\"bbax-y\""},
       {"'ab'.replace('', '-')", "\"-a-b-\""},
       {"'web-01'.matches('^[a-z]+-[0-9]+$') && !'x'.matches('y')", "true"},
       {"'a1b22'.find('[0-9]+') + string('a1b22'.findAll('[0-9]+').size())", "\"12\""},
       {"'%s has %d of %.2f %x'.format(['n', 3, 1.5, 255])", "\"n has 3 of 1.50 ff\""},
       {"strings.quote('a\"b')", "\"\\\"a\\\\\\\"b\\\"\""},
       {"'x'.matches('(')",
        "compile: ERROR: <input>:1:13: invalid matches argument\n | 'x'.matches('(')\n | ............^"}});
}

TEST(Cel, TimeAndConversions) {
  all({{"timestamp('2024-02-29T12:30:15.5Z').getDate() == 29 && timestamp(0).getFullYear() == 1970", "true"},
       {"timestamp('2024-01-01T00:00:00Z') + duration('36h') == timestamp('2024-01-02T12:00:00Z')", "true"},
       {"timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z')", "duration(\"86400s\")"},
       {"duration('1h30m').getMinutes() == 90 && duration('1.5s').getMilliseconds() == 500", "true"},
       {"timestamp('2024-07-01T00:00:00Z').getHours('Europe/Berlin') * 100 + "
        "timestamp('2024-01-01T00:00:00Z').getHours('+05:30')",
        "205"},
       {"string(timestamp('2024-01-01T00:00:00Z')) + string(duration('90s'))", "\"2024-01-01T00:00:00Z90s\""},
       {"int('42') + int(3.9) + int(7u)", "52"},
       {"int('x')", "error: strconv.ParseInt: parsing \"x\": invalid syntax"},
       {"uint(-1)", "error: unsigned integer overflow"},
       {"double('1.5') + double(2)", "3.5"},
       {"string(1.5) + string(true) + string(b'ab')", "\"1.5trueab\""},
       {"timestamp('9999-12-31T23:59:59Z') - duration('24h') == timestamp('9999-12-30T23:59:59Z') && "
        "timestamp('0001-01-01T00:00:00Z').getFullYear() == 1",
        "true"},
       {"timestamp('9999-12-31T23:59:59Z') + duration('1s')", "error: timestamp overflow"},
       {"'%s %e'.format([double('NaN'), double('inf')]) + '\\u2003x\\u3000'.trim()", "\"NaN Infinityx\""},
       {"duration('1x')", "error: time: invalid duration \"1x\""}});
}

TEST(Cel, KubernetesLibraries) {
  all({{"[1, 2, 3].isSorted() && [2, 1].min() == 1 && [2, 1].max() == 2 && [1, 2].sum() == 3 && [1, "
        "2].indexOf(2) == 1",
        "true"},
       {"[].min()", "error: min called on empty list"},
       {"[1, [2, [3]]].flatten()",
        "compile: ERROR: <input>:1:5: expected type 'int' but found 'list(int)'\n | [1, [2, "
        "[3]]].flatten()\n | ....^\nERROR: <input>:1:9: expected type 'int' but found 'list(int)'\n | [1, "
        "[2, [3]]].flatten()\n | ........^"},
       {"[[1], [2, 3]].flatten().size() + self.tags.distinct().size() + lists.range(3).size()", "8"},
       {"[1, 2, 3, 4].slice(1, 3)", "[2, 3]"},
       {"sets.contains([1, 2], [2]) && sets.equivalent([1, 1], [1]) && !sets.intersects([1], [2])", "true"},
       {"isURL('https://example.com:80/a?b=c') && !isURL('a b') && !isURL('example.com')", "true"},
       {"url('https://[::1]:8443/p%20q?x=1&x=2').getHostname() + url('http://h:80/').getPort() + "
        "url('http://h/p q'.replace(' ', '%20')).getEscapedPath()",
        "\"::180/p%20q\""},
       {"url('http://h/?x=1&x=2').getQuery()['x']", "[\"1\", \"2\"]"},
       {"isIP('10.0.0.1') && isIP('::1') && !isIP('::ffff:1.2.3.4') && ip('fe80::1').isLinkLocalUnicast() && "
        "ip('10.0.0.1').family() == 4",
        "true"},
       {"cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsCIDR('11.0.0.0/16') && "
        "cidr('10.1.2.3/8').masked().prefixLength() == 8",
        "true"},
       {"string(cidr('10.1.2.3/8').masked()) + string(ip('2001:DB8::1'))", "\"10.0.0.0/82001:db8::1\""},
       {"ip.isCanonical('2001:DB8::1')", "false"},
       {"quantity('1Gi').isGreaterThan(quantity('500M')) && quantity('1.5').add(1).isLessThan(quantity('3')) "
        "&& !isQuantity('x')",
        "true"},
       {"quantity('2k').asInteger() + quantity('-1').sign()", "1999"},
       {"quantity('1500m').asApproximateFloat()", "1.5"},
       {"semver('1.2.3-rc.1').isLessThan(semver('1.2.3')) && semver('v1.2', true).minor() == 2 && "
        "!isSemver('1.2')",
        "true"},
       {"format.dns1123Label().validate('Bad').hasValue() && "
        "!format.named('uuid').value().validate('123e4567-e89b-12d3-a456-426614174000').hasValue()",
        "true"},
       {"jsonpatch.escapeKey('a/b~c')", "\"a~1b~0c\""}});
}

TEST(Cel, RefusesInCelGosWords) {
  all({{"x", "compile: ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x\n | ^"},
       {"1 + 'a'",
        "compile: ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 "
        "+ 'a'\n | ..^"},
       {"'a'.nope()",
        "compile: ERROR: <input>:1:5: undeclared reference to 'nope' (in container '')\n | 'a'.nope()\n | "
        "....^"},
       {"'a'.startsWith(1)",
        "compile: ERROR: <input>:1:5: found no matching overload for 'startsWith' applied to "
        "'string.(int)'\n | 'a'.startsWith(1)\n | ....^"},
       {"[1, 'a']",
        "compile: ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^"},
       {"1 &&", "compile: ERROR: <input>:1:5: Syntax error: mismatched input '<EOF>'\n | 1 &&\n | ....^"},
       {"has(1)", "compile: ERROR: <input>:1:1: invalid argument to has() macro\n | has(1)\n | ^"},
       {"1.all(x, true)",
        "compile: ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension (must be "
        "list, map, or dynamic)\n | 1.all(x, true)\n | ^"},
       {"true &&\n  nope",
        "compile: ERROR: <input>:2:3: undeclared reference to 'nope' (in container '')\n |   nope\n | ..^"}});
}

TEST(Cel, TypesByASchema) {
  auto schema = compile_structural(base::parse_json(R"({"type": "object", "properties": {
    "replicas": {"type": "integer"}, "weight": {"type": "number"}, "port": {"x-kubernetes-int-or-string": true}, "in": {"type": "string"},
    "a-b": {"type": "string"}, "at": {"type": "string", "format": "date-time"}, "wait": {"type": "string", "format": "duration"},
    "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
    "map": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
    "any": {"type": "object", "additionalProperties": {"type": "integer"}}}})")
                                       .value());
  ASSERT_TRUE(schema.ok());
  json::value object =
      base::parse_json(
          R"({"kind": "K", "metadata": {"name": "n"}, "replicas": 2, "weight": 1, "port": "http", "in": "i", "a-b": "c",
    "at": "2024-01-01T00:00:00Z", "wait": "90s", "set": ["x", "y"], "map": [{"k": "a", "v": 1}], "any": {"z": 7}})")
          .value();
  auto result = [&](std::string_view text) {
    auto program = compile(text, {{"self", type_of(*schema, true)}});
    if (!program.ok()) return program.error().reason.substr(0, program.error().reason.find('\n'));
    uint64_t cost;
    auto value = (*program)->evaluate({Value::of_json(object, &*schema, true)}, kExpressionBudget, &cost);
    return value.ok() ? shown(*value) : "error: " + value.error().reason;
  };
  EXPECT_EQ(result("self.metadata.name + self.kind + self.__in__ + self.a__dash__b"), "\"nKic\"");
  EXPECT_EQ(result("self.weight == 1.0 && self.replicas == 2 && self.any['z'] == 7 && self.any.z == 7"),
            "true");
  EXPECT_EQ(result("self.at.getFullYear() == 2024 && self.wait > duration('1m')"), "true");
  EXPECT_EQ(result("type(self.port) == int ? self.port > 0 : self.port == 'http'"), "true");
  EXPECT_EQ(result("self.set == ['y', 'x'] || self.set + ['x', 'z'] == ['x', 'y', 'z']"), "true");
  EXPECT_EQ(result("self.map.exists(m, m.k == 'a' && m.v == 1)"), "true");
  EXPECT_EQ(result("self.nope"), "ERROR: <input>:1:5: undefined field 'nope'");
  EXPECT_EQ(result("self.replicas.x"), "ERROR: <input>:1:14: type 'int' does not support field selection");
  EXPECT_EQ(result("self.weight > 1"), "false");
  EXPECT_EQ(result("self.metadata.labels"), "ERROR: <input>:1:14: undefined field 'labels'");
  EXPECT_EQ(result("self.replicas == 'a'"),
            "ERROR: <input>:1:15: found no matching overload for '_==_' applied to '(int, string)'");
}

TEST(Cel, IsBounded) {
  auto reason = [](const std::string& text) {
    auto program = compile(text, {{"self", simple(Kind::dyn)}});
    return program.ok() ? std::string() : program.error().reason.substr(0, program.error().reason.find('\n'));
  };
  EXPECT_NE(reason(std::string(100'000, '(') + "1"), "");
  EXPECT_NE(reason(std::string(5000, '[')), "");
  EXPECT_NE(reason(std::string(200'001, ' ')), "");
  std::string sum = "1", both = "true", text = "self";
  for (int i = 0; i < 20'000; ++i) sum += "+1", both += "&&true", text += ".a";
  EXPECT_NE(reason(sum), "");
  EXPECT_NE(reason(text), "");
  EXPECT_EQ(reason(both.substr(0, 50'000) == both ? both : both.substr(0, 4 + 6 * 8000)), "");
  EXPECT_EQ(reason(std::string(3001, '!') + "true"), "");
  std::string list = "[0";
  for (int i = 1; i < 100; ++i) list += "," + std::to_string(i);
  list += "]";
  std::string nested =
      list + ".all(a, " + list + ".all(b, " + list + ".all(c, " + list + ".all(d, a + b + c + d >= 0))))";
  EXPECT_EQ(come_to(nested), "error: operation cancelled: actual cost limit exceeded");
  EXPECT_EQ(come_to("true || " + nested), "true");
  EXPECT_EQ(come_to(nested + " || true"), "error: operation cancelled: actual cost limit exceeded");
  EXPECT_EQ(come_to("lists.range(100000000).size() == 1"),
            "error: operation cancelled: actual cost limit exceeded");
}

TEST(Cel, SaysWhichVariablesAreUsed) {
  auto program = compile("self.a == 1 && [1].all(oldSelf, oldSelf == 1)",
                         {{"self", simple(Kind::dyn)}, {"oldSelf", simple(Kind::dyn)}});
  ASSERT_TRUE(program.ok());
  EXPECT_TRUE((*program)->uses(0));
  EXPECT_FALSE((*program)->uses(1));
}

}  // namespace
}  // namespace api::cel
