// Every scalar field of every type with the values at its limits: what a client sends in protocol buffers is
// what it would have sent in JSON, and what is printed is read again as the same.
#include <bit>
#include <cmath>
#include <limits>

#include "api/protobuf.h"
#include "api/walk.h"
#include "base/base64.h"
#include "base/instant.h"
#include "tests/prop/draw.h"

namespace api {
namespace {

using prop::Draw;
using prop::each_seed;

// ---- the writer that Go's generated clients are ------------------------------------------------------
std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string number(uint32_t field, uint64_t value) { return varint(field << 3) + varint(value); }
std::string bytes(uint32_t field, std::string_view value) {
  return varint(field << 3 | 2) + varint(value.size()) + std::string(value);
}

struct Sample {
  json::value json;  // as a client writes it
  std::string wire;  // behind the field's number
  bool wire_is_bytes = true;
  uint32_t wire_type = 2;
};
std::string fixed64(double value) {
  uint64_t bits = std::bit_cast<uint64_t>(value);
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(bits >> (8 * i));
  return out;
}
Sample scalar(uint64_t value, json::value as) { return {std::move(as), varint(value), false, 0}; }
Sample text(std::string value) { return {json::value(value), varint(value.size()) + value}; }
Sample message(json::value as, const std::string& in) { return {std::move(as), varint(in.size()) + in}; }

Sample moment(Draw& draw, bool micro) {
  static const int64_t kEdges[] = {base::kFirstInstant,
                                   base::kZeroInstant.seconds - 1,
                                   base::kZeroInstant.seconds + 1,
                                   -9000000001,
                                   -1,
                                   0,
                                   1,
                                   9000000001,
                                   9223372036,
                                   9223372037,
                                   base::kLastInstant};
  base::Instant at{kEdges[draw.upto(std::size(kEdges) - 1)], 0};
  if (draw.chance(30))
    at.seconds =
        base::kFirstInstant +
        static_cast<int64_t>(draw.random() % static_cast<uint64_t>(base::kLastInstant - base::kFirstInstant));
  if (micro) at.nanos = static_cast<int32_t>(draw.random() % 1000000) * 1000;
  return message(json::value(base::format_instant(at, micro ? 6 : 0)),
                 number(1, static_cast<uint64_t>(at.seconds)) + number(2, static_cast<uint64_t>(at.nanos)));
}
template <typename T>
T edge(Draw& draw) {
  static const T kEdges[] = {std::numeric_limits<T>::min(),     std::numeric_limits<T>::min() + 1, -1, 1,
                             std::numeric_limits<T>::max() - 1, std::numeric_limits<T>::max()};
  return kEdges[draw.upto(5)];
}
Sample sample(Draw& draw, const Field& field) {
  switch (field.shape) {
    case Shape::kBool: return scalar(1, true);
    case Shape::kInt32: {
      int32_t value = edge<int32_t>(draw);
      return scalar(static_cast<uint64_t>(static_cast<int64_t>(value)), value);
    }
    case Shape::kInt64: {
      int64_t value = edge<int64_t>(draw);
      return scalar(static_cast<uint64_t>(value), value);
    }
    case Shape::kDouble: {
      static const double kEdges[] = {9007199254740991.0, -9007199254740991.5, 1e-7, 0.1,
                                      1e21};  // as far as the JSON parser is exact
      double value = kEdges[draw.upto(4)];
      return {value, fixed64(value), false, 1};
    }
    case Shape::kString: {
      static const std::string kEdges[] = {"a",      std::string("\0", 1), "\x7f",
                                           "\n\"\\", "\xf4\x8f\xbf\xbf",   std::string(3000, 'x')};
      return text(kEdges[draw.upto(5)]);
    }
    case Shape::kBytes: {
      std::string raw;
      for (int i = draw.upto(5); i >= 0; --i)
        raw += static_cast<char>(draw.chance(50) ? 0xff : draw.upto(255));
      return {json::value(base::base64_encode(raw)), varint(raw.size()) + raw};
    }
    case Shape::kQuantity: {
      static const char* const kEdges[] = {"9223372036854775807",
                                           "-9223372036854775807",
                                           "1n",
                                           "-1n",
                                           "8191Pi",
                                           "9223372036854775807n",
                                           "500m",
                                           "1e3",
                                           "12Ei"};
      const char* value = kEdges[draw.upto(std::size(kEdges) - 1)];
      return message(value, bytes(1, value));
    }
    case Shape::kIntOrString: {
      if (draw.chance(50)) return message("50%", number(1, 1) + bytes(3, "50%"));
      int32_t value = edge<int32_t>(draw);
      return message(value, number(1, 0) + number(2, static_cast<uint64_t>(static_cast<int64_t>(value))));
    }
    case Shape::kTime: return moment(draw, false);
    case Shape::kMicroTime: return moment(draw, true);
    default: return {};
  }
}
// `inner` behind the numbers of the field: those outside are messages around it.
std::string placed(const Field& field, const Sample& value) {
  std::string out = varint(static_cast<uint64_t>(field.wire & 0xff) << 3 | value.wire_type) + value.wire;
  for (uint32_t around = field.wire >> 8; around; around >>= 8) out = bytes(around & 0xff, out);
  return out;
}
std::string body(const Type& type, const std::string& raw) {
  return std::string("k8s\0", 4) + bytes(1, bytes(1, "v1") + bytes(2, type.name)) + bytes(2, raw);
}

TEST(Scalars, BothEncodingsSayTheSame) {
  size_t seen = 0;
  each_seed(12, [&](Draw& draw) {
    for (const Type* type : all_types()) {
      for (const Field& field : type->fields) {
        if (field.holder != Holder::kOne || !field.wire || field.shape == Shape::kStruct ||
            field.shape == Shape::kAny)
          continue;
        std::string_view name = field.name;
        if (name == "apiVersion" || name == "kind") continue;  // the envelope's
        ++seen;
        Sample value = sample(draw, field);
        auto decoded = protobuf_to_json(*type, body(*type, placed(field, value)));
        ASSERT_TRUE(decoded.ok()) << type->name << "." << name << ": " << decoded.error().message();
        json::value sent = json::object{{field.name, value.json}};
        for (json::value* one : {&*decoded, &sent}) {
          ASSERT_TRUE(check_types(*type, *one).ok())
              << type->name << "." << name << " " << base::to_json(*one) << ": "
              << check_types(*type, *one).error().message();
          prune(*type, *one);
        }
        const json::value* found = base::find(*decoded, name);
        const json::value* wanted = base::find(sent, name);
        ASSERT_TRUE(found && wanted) << type->name << "." << name << " of " << base::to_json(value.json);
        EXPECT_EQ(*found, *wanted) << type->name << "." << name;
        // Printed and read again.
        auto again = base::parse_json(base::to_json(*decoded));
        ASSERT_TRUE(again.ok());
        EXPECT_EQ(*again, *decoded) << type->name << "." << name;
        ASSERT_TRUE(check_types(*type, *again).ok());
        prune(*type, *again);
        EXPECT_EQ(*again, *decoded) << type->name << "." << name;
      }
    }
  });
  EXPECT_GT(seen, 1000u);
}

TEST(Scalars, OneBeyondTheLimitIsRefused) {
  const Type* meta = find_type("io.k8s.apimachinery.pkg.apis.meta.v1", "ObjectMeta");
  const Field* field = meta->field("creationTimestamp");
  for (int64_t seconds : {base::kFirstInstant - 1, base::kLastInstant + 1, INT64_MAX, INT64_MIN})
    EXPECT_FALSE(
        protobuf_to_json(
            *meta, body(*meta, placed(*field, message(nullptr, number(1, static_cast<uint64_t>(seconds))))))
            .ok())
        << seconds;
  for (const char* wrong : {"10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z", "2026-02-30T00:00:00Z",
                            "2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z", "2026-01-01 00:00:00Z",
                            "2026-01-01T00:00:00", "9999-12-31T23:59:59-01:00", "2026-01-01T00:00:00+1:00"}) {
    json::value object = json::object{{"creationTimestamp", wrong}};
    EXPECT_FALSE(check_types(*meta, object).ok()) << wrong;
  }
  // Year 1 itself is Go's unset time: null in both.
  json::value unset = json::object{{"creationTimestamp", "0001-01-01T00:00:00Z"}};
  prune(*meta, unset);
  EXPECT_EQ(base::to_json(unset), R"({"creationTimestamp":null})");
  for (const Type* type : all_types())
    for (const Field& one : type->fields)
      if (one.shape == Shape::kInt32 && one.holder == Holder::kOne)
        for (int64_t beyond : {int64_t{INT32_MAX} + 1, int64_t{INT32_MIN} - 1}) {
          json::value object = json::object{{one.name, beyond}};
          EXPECT_FALSE(check_types(*type, object).ok()) << type->name << "." << one.name;
        }
}

// Text or number: Kubernetes' decoder takes both for every quantity.
TEST(Scalars, QuantitiesAreTextOrNumber) {
  size_t seen = 0;
  for (const Type* type : all_types())
    for (const Field& field : type->fields) {
      if (field.shape != Shape::kQuantity) continue;
      ++seen;
      for (const auto& [sent, kept] : {std::pair<const char*, const char*>{"4", "4"},
                                       {"0.5", "500m"},
                                       {"\"4\"", "4"},
                                       {"\"1Gi\"", "1Gi"}}) {
        json::value one = base::parse_json(sent).value(), expected(kept);
        auto held = [&](json::value value) -> json::value {
          if (field.holder == Holder::kMap) return json::object{{"k", value}};
          if (field.holder == Holder::kList) return json::array{value};
          return value;
        };
        json::value object = json::object{{field.name, held(one)}};
        ASSERT_TRUE(check_types(*type, object).ok()) << type->name << "." << field.name << " " << sent;
        prune(*type, object);
        EXPECT_EQ(*base::find(object, field.name), held(expected)) << type->name << "." << field.name;
      }
    }
  EXPECT_GE(seen, 35u);
}

}  // namespace
}  // namespace api
