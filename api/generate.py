#!/usr/bin/python3
"""Turns api/schema/*.schema into C++: types.h (structs), one tables_<package>.cc per file.

usage: generate.py SCHEMA_DIR OUTPUT_DIR

The schema files are described in api/schema/README.md. Deterministic; files are rewritten only
when they change, so that a build stays incremental.
"""
import os
import re
import shlex
import sys

# Every type that C++ code of ours reads or writes as a struct is reachable from one of these.
STRUCT_ROOTS = """
core.Pod core.ReplicationController core.Service core.Endpoints core.Node core.Namespace
core.ConfigMap core.Secret core.ServiceAccount core.Event core.Binding core.PodTemplateSpec
core.LimitRange core.ResourceQuota core.PersistentVolume core.PersistentVolumeClaim
apps.ReplicaSet apps.Deployment discovery.EndpointSlice coordination.Lease autoscaling.Scale
meta.Status meta.DeleteOptions meta.LabelSelector meta.ObjectMeta meta.OwnerReference
authentication.TokenRequest
""".split()

SCALARS = {
    "string": ("kString", "std::string"), "time": ("kTime", "std::string"),
    "micro-time": ("kMicroTime", "std::string"), "quantity": ("kQuantity", "std::string"),
    "bytes": ("kBytes", "std::string"), "int32": ("kInt32", "int32_t"),
    "int64": ("kInt64", "int64_t"), "bool": ("kBool", "bool"), "double": ("kDouble", "double"),
    "int-or-string": ("kIntOrString", "IntOrString"), "any": ("kAny", "json::value"),
}
# What these rows say is the same on every kind; a row of the schema may still say it otherwise.
SHARED_DOCS = {
    ("apiVersion", "string"): "Group and version that this object is written in, such as v1 or apps/v1.",
    ("kind", "string"): "Name of this object's type, in CamelCase.",
    ("metadata", "ObjectMeta"): "Name, namespace, labels and the server's bookkeeping.",
}
KEYWORDS = {"namespace", "operator", "template", "default", "continue", "protected", "not", "private",
            "class", "int", "bool", "enum", "static", "linux", "unix"}  # the last two are macros of gnu++20


class Field:
    def __init__(self, line, where):
        line, _, self.doc = line.partition(" | ")
        parts = shlex.split(line.replace('"', '\\"'))
        self.name, spelled = parts[0], parts[1]
        self.holder = "kOne"
        for pattern, holder in ((r"map\(list\((.+)\)\)$", "kMapOfLists"), (r"list\((.+)\)$", "kList"),
                                (r"map\((.+)\)$", "kMap")):
            match = re.match(pattern, spelled)
            if match:
                spelled, self.holder = match.group(1), holder
                break
        self.spelled = spelled
        self.marks = {}
        for mark in parts[2:]:
            key, _, value = mark.partition("=")
            if key not in {"required", "immutable", "atomic", "set", "map", "strategy", "merge",
                           "default", "enum", "rule"}:
                sys.exit("%s: unknown mark '%s'" % (where, mark))
            self.marks[key] = value
        self.target = None  # Type, for structs
        self.wire, self.wire_pointer = 0, False

    def member(self):
        text = self.name.lstrip("$").replace("-", "_")
        text = re.sub(r"([A-Z]{2,})s(?=$|[A-Z])", lambda m: m.group(1).capitalize() + "s", text)  # podIPs
        text = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", text)
        text = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", text).lower()
        return text + "_" if text in KEYWORDS else text

    def cpp_type(self):
        inner = self.target.cpp if self.target else SCALARS[self.spelled][1]
        if self.holder == "kList":
            return "std::vector<%s>" % inner
        if self.holder == "kMap":
            return "std::map<std::string, %s>" % inner
        if self.holder == "kMapOfLists":
            return "std::map<std::string, std::vector<%s>>" % inner
        if inner in ("std::string", "json::value") or "required" in self.marks:
            return inner
        if inner == "ObjectMeta":
            return inner  # every kind has it
        return "std::optional<%s>" % inner


class Type:
    def __init__(self, group, package, name, is_kind):
        self.group, self.package, self.name, self.is_kind = group, package, name, is_kind
        self.fields, self.doc, self.has_struct, self.cpp = [], "", False, None

    def symbol(self):
        return "k_%s_%s" % (self.group.replace(".", "_"), self.name)


def parse(directory):
    types = {}
    for name in sorted(os.listdir(directory)):
        if not name.endswith(".schema"):
            continue
        path = os.path.join(directory, name)
        group, version = name[:-7].rsplit("_", 1)
        if version != "v1":
            group += "." + version
        package, current = None, None
        for number, line in enumerate(open(path), 1):
            where = "%s:%d" % (path, number)
            line = line.rstrip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("  "):
                current.fields.append(Field(line.strip(), where))
                continue
            head, _, doc = line.partition(" | ")
            word, rest = head.split(None, 1)
            if word == "package":
                package = rest
            elif word in ("type", "kind"):
                current = Type(group, package, rest.strip(), word == "kind")
                current.doc = doc
                if (group, current.name) in types:
                    sys.exit("%s: %s stands twice" % (where, current.name))
                types[(group, current.name)] = current
            else:
                sys.exit("%s: expected package, kind or type" % where)
    for type_ in types.values():
        for field in type_.fields:
            if type_.is_kind and not field.doc:
                field.doc = SHARED_DOCS.get((field.name, field.spelled), "")
            if field.spelled in SCALARS:
                continue
            group, _, name = field.spelled.rpartition(".")
            for candidate in ([group] if group else [type_.group, "meta", "core"]):
                if (candidate, name) in types:
                    field.target = types[(candidate, name)]
                    break
            else:
                sys.exit("%s.%s: no type %s" % (type_.name, field.name, field.spelled))
        type_.fields.sort(key=lambda f: f.name)
    return types


def read_wire_numbers(path, types):
    """Numbers of the protobuf form; a path a/b/c is packed as bytes, the innermost last."""
    by_name = {(t.package, t.name): t for t in types.values()}
    package = None
    for number, line in enumerate(open(path), 1):
        words = line.split()
        if not words or words[0] == "#":
            continue
        if words[0] == "package":
            package = words[1]
            continue
        where = "%s:%d" % (path, number)
        if (package, words[0]) not in by_name:
            sys.exit("%s: no type %s in %s" % (where, words[0], package))
        fields = {f.name: f for f in by_name[(package, words[0])].fields}
        for word in words[1:]:
            name, _, numbers = word.partition("=")
            if name not in fields:
                sys.exit("%s: %s has no field %s" % (where, words[0], name))
            fields[name].wire_pointer = numbers.endswith("*")
            for part in numbers.rstrip("*").split("/"):
                fields[name].wire = fields[name].wire << 8 | int(part)


def choose_structs(types):
    order, taken = [], {}

    def visit(type_, path):
        if type_ in path:
            sys.exit("%s contains itself: a struct cannot" % type_.name)
        if type_.has_struct:
            return
        for field in type_.fields:
            if field.target:
                visit(field.target, path + [type_])
        type_.has_struct = True
        name = type_.name
        if name in taken:
            name = type_.group.split(".")[0].capitalize() + name
        taken[name] = type_
        type_.cpp = name
        order.append(type_)

    for root in STRUCT_ROOTS:
        group, name = root.split(".")
        visit(types[(group, name)], [])
    return order


def quoted(value):
    return "nullptr" if value is None else '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"')


class Docs:
    """The sentences of one file, in an array of their own: only OpenAPI reads them, so they must not
    lie between the names that every walk over the tables reads."""

    def __init__(self, group):
        self.name, self.at, self.lines, self.size = "kDocs_" + re.sub(r"\W", "_", group), {}, [], 0

    def place(self, text):
        if text not in self.at:
            self.at[text] = self.size
            self.lines.append('    "%s\\0"' % text.replace("\\", "\\\\").replace('"', '\\"'))
            self.size += len(text.encode()) + 1
        return "%s + %d" % (self.name, self.at[text])

    def array(self):
        return ["static constexpr char %s[] =" % self.name] + self.lines[:-1] + [
            self.lines[-1] + ";", "static_assert(sizeof(%s) == %d + 1);" % (self.name, self.size)]


def header(order):
    out = ["// Generated by api/generate.py; do not edit.", "#pragma once", "", "#include <map>",
           "#include <optional>", "#include <string>", "#include <vector>", "",
           '#include "api/int_or_string.h"', '#include "api/schema.h"', "", "namespace api {", ""]
    for type_ in order:
        out.append("struct %s {" % type_.cpp)
        out.append("  static constexpr bool kIsApiStruct = true;")
        for field in type_.fields:
            cpp = field.cpp_type()
            init = " = 0" if cpp in ("int32_t", "int64_t", "double") else " = false" if cpp == "bool" else ""
            out.append("  %s %s%s;" % (cpp, field.member(), init))
        out.append("};")
    out.append("")
    for type_ in order:
        out.append("extern const Type %s;" % type_.symbol())
    for type_ in order:
        out.append("template <> inline const Type& type_of<%s>() { return %s; }" % (type_.cpp, type_.symbol()))
    out += ["", "}  // namespace api", ""]
    return "\n".join(out)


def row(type_, field, docs):
    marks = field.marks
    shape = "kStruct" if field.target else SCALARS[field.spelled][0]
    list_type = next((m for m in ("atomic", "set", "map") if m in marks), None)
    ops, offset = "nullptr", "0"
    if type_.has_struct:
        ops = "&members::Ops<%s>::value" % field.cpp_type()
        offset = "offsetof(%s, %s)" % (type_.cpp, field.member())
    flag = lambda name: "true" if name in marks else "false"
    return "    {%s, Shape::%s, Holder::%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %d, %s}," % (
        quoted(field.name), shape, field.holder, flag("required"), flag("immutable"),
        "true" if "strategy" in marks else "false",
        "&" + field.target.symbol() if field.target else "nullptr", quoted(marks.get("default")),
        quoted(marks.get("enum")), quoted(marks.get("rule")), quoted(marks.get("merge")), quoted(marks.get("strategy")),
        quoted(list_type), quoted(marks.get("map") or None), docs.place(field.doc), ops, offset,
        field.wire, "true" if field.wire_pointer else "false")


def tables(types, group):
    mine = [t for t in types.values() if t.group == group]
    others = sorted({f.target.symbol() for t in mine for f in t.fields
                     if f.target and f.target.group != group})
    out = ["// Generated by api/generate.py; do not edit.", "#include <cstddef>", "",
           '#include "api/member_ops.h"', '#include "api/types.h"', "",
           "// The structs hold standard containers; GCC supports offsetof on them.",
           '#pragma GCC diagnostic ignored "-Winvalid-offsetof"', "", "namespace api {"]
    out += ["extern const Type %s;" % s for s in others + [t.symbol() for t in mine]]
    docs, rows = Docs(group), []
    for type_ in mine:
        rows.append("static constinit const Field %s_fields[] = {" % type_.symbol())
        rows += [row(type_, field, docs) for field in type_.fields]
        rows.append("};")
        rows.append("constinit const Type %s{%s, %s, %s, %s_fields, %s};" % (
            type_.symbol(), quoted(type_.name), quoted(type_.package),
            "true" if type_.is_kind else "false", type_.symbol(), docs.place(type_.doc)))
    out += docs.array() + rows
    out += ["}  // namespace api", ""]
    return "\n".join(out)


def index(types):
    out = ["// Generated by api/generate.py; do not edit.", '#include "api/schema.h"', "",
           "namespace api {"]
    out += ["extern const Type %s;" % t.symbol() for t in types.values()]
    out.append("static constinit const Type* const kAll[] = {")
    out += ["    &%s," % t.symbol() for t in types.values()]
    out += ["};", "std::span<const Type* const> all_types() { return kAll; }", "}  // namespace api", ""]
    return "\n".join(out)


def write(path, text):
    if os.path.exists(path) and open(path).read() == text:
        return
    with open(path, "w") as out:
        out.write(text)


def main():
    types = parse(sys.argv[1])
    read_wire_numbers(os.path.join(sys.argv[1], "wire.numbers"), types)
    order = choose_structs(types)
    out = sys.argv[2]
    os.makedirs(out, exist_ok=True)
    write(os.path.join(out, "types.h"), header(order))
    write(os.path.join(out, "tables_index.cc"), index(types))
    for group in sorted({t.group for t in types.values()}):
        write(os.path.join(out, "tables_%s.cc" % group.replace(".", "_")), tables(types, group))


if __name__ == "__main__":
    main()
