// Reads the protobuf form of objects (application/vnd.kubernetes.protobuf), which clients generated
// from Kubernetes' types prefer for what they send. Walks the same tables as JSON. Pure; answers are
// never written in this form (clients accept JSON beside it).
#pragma once

#include <string_view>

#include "api/schema.h"

namespace api {

constexpr std::string_view kProtobufMediaType = "application/vnd.kubernetes.protobuf";

// The object in `body` (the magic "k8s\0" and an envelope) as the JSON it stands for, with
// apiVersion and kind as the envelope says; read as `type` if that is its kind, otherwise only those
// two are set, for the caller to refuse. Numbers that the tables do not know are skipped.
base::Result<json::value> protobuf_to_json(const Type& type, std::string_view body);

}  // namespace api
