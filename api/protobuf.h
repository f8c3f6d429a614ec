// The protobuf form of objects (application/vnd.kubernetes.protobuf), which clients generated from
// Kubernetes' types prefer. Walks the same tables as JSON. Pure.
#pragma once

#include <string_view>

#include "api/schema.h"

namespace api {

constexpr std::string_view kProtobufMediaType = "application/vnd.kubernetes.protobuf";

// The object in `body` (the magic "k8s\0" and an envelope) as the JSON it stands for, with
// apiVersion and kind as the envelope says; read as `type` if that is its kind, otherwise only those
// two are set, for the caller to refuse. Numbers that the tables do not know are skipped.
base::Result<json::value> protobuf_to_json(const Type& type, std::string_view body);

// False: the type's numbers are unknown here, and it exists in JSON alone (custom resources).
bool has_protobuf(const Type& type);
// A message alone, its envelope with the magic, and both. What the tables do not know is left out.
std::string protobuf_message(const Type& type, const json::value& object);
std::string protobuf_envelope(std::string_view api_version, std::string_view kind, std::string_view message);
std::string protobuf_of(const Type& type, const json::value& object);
// What stands before and behind a message of that size in its envelope.
std::string protobuf_envelope_head(std::string_view api_version, std::string_view kind, size_t message_bytes);
std::string protobuf_envelope_tail();
// A field of bytes at the end of `out`: every list of objects is {1: metadata, 2: items}. What it takes
// there.
void append_protobuf_item(std::string& out, uint32_t field, std::string_view message);
size_t protobuf_item_bytes(uint32_t field, size_t message_bytes);
// An event of a watch, with its length before it (;stream=watch); `object` in its envelope.
std::string protobuf_event_frame(std::string_view type, std::string_view object);

}  // namespace api
