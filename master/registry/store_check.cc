#include "master/registry/store_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/sys.h"
#include "master/registry/object_cache.h"
#include "master/registry/resource.h"
#include "master/store/record.h"
#include "master/store/store.h"
#include "master/store/store_file.h"

namespace master {

namespace {

// The structure of the file, of which loading the records sees a part.
base::Status check_structure(const std::string& path) {
  if (!base::sys::exists(path)) return {};
  Sqlite db = TRY(open_store_file(path));
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  execute(db.get(), "PRAGMA locking_mode=EXCLUSIVE");
  SqliteStatement check = prepare(db.get(), "PRAGMA integrity_check(1)");
  if (!check || sqlite3_step(check.get()) != SQLITE_ROW) return sqlite_error(db.get(), "check store", path);
  std::string found(column_bytes(check.get(), 0));
  if (found == "ok") return {};
  return base::make_error(base::Kind::kCorrupt, "check store", path, found.substr(0, found.find('\n')),
                          "restore the whole directory from a backup, or start once with "
                          "--accept-data-loss to go on with what can be read of it");
}

struct Record {
  std::string key, value;
};

// Whose kind is known here, or defined by a record that stands in the store itself.
void look_at(const std::vector<Record>& records, StoreReport* report) {
  ResourceTable table;
  std::set<std::string, std::less<>> defined;  // "plural.group"
  constexpr std::string_view kDefinitions = "/apiextensions.k8s.io/customresourcedefinitions//";
  for (const Record& record : records)
    if (record.key.starts_with(kDefinitions)) defined.insert(record.key.substr(kDefinitions.size()));
  for (const auto& [key, value] : records) {
    StoredPlace place = place_of(key);
    ResourcePtr resource = table.find_stored(place.group, place.plural);
    base::Status status;
    if (resource && resource->objects) {
      if (auto object = read_stored(*resource, place.key, value); !object.ok()) status = object.error();
    } else if (defined.contains(fmt::format("{}.{}", place.plural, place.group))) {
      if (auto object = read_record(place.key, value); !object.ok()) status = object.error();
    } else {
      status = base::make_error(base::Kind::kUnsupported, "serve", {}, "nothing here serves such objects");
    }
    if (status.ok()) ++report->records;
    else report->aside.emplace_back(key, status.error().message());
  }
}

}  // namespace

base::Result<StoreReport> check_store(const std::string& path) {
  StoreReport report;
  auto refuses = [&](const base::Status& status) {
    if (status.error().kind == base::Kind::kCorrupt) report.refusal = status.error();
    return report.refusal.has_value();
  };
  if (base::Status structure = check_structure(path); !structure.ok() && !refuses(structure))
    return structure.error();
  base::Loop loop;
  StoreOptions options;
  options.only_look = true;
  auto store = open_sqlite_store(loop, path, options);
  if (!store.ok()) {
    if (report.refusal || refuses(store.error())) return report;
    return store.error();
  }
  std::vector<Record> records;
  base::Status loaded = (*store)->load(
      [&](std::string key, std::string value, int64_t revision) {
        report.revision = std::max(report.revision, revision);
        records.push_back({std::move(key), std::move(value)});
      },
      [&](const std::string& key, int64_t, const base::Error& why) {
        report.aside.emplace_back(key, why.message());
      });
  if (!loaded.ok() && !report.refusal && !refuses(loaded)) return loaded.error();
  look_at(records, &report);
  return report;
}

int exit_code(const StoreReport& report) { return report.refusal ? 4 : report.aside.empty() ? 0 : 3; }

std::string to_text(const StoreReport& report, const std::string& path) {
  std::string out = fmt::format("{}: {} records, last revision {}\n", path, report.records, report.revision);
  for (const auto& [key, why] : report.aside)
    out += fmt::format("set aside: {}: {}\n", shown_record(key), why);
  if (!report.aside.empty())
    out += fmt::format(
        "{} records are not served and stay in the store: start the sampan-master that wrote them, "
        "or restore a backup\n",
        report.aside.size());
  if (report.refusal) out += "sampan-master does not start on it: " + report.refusal->message() + "\n";
  else if (report.aside.empty()) out += "whole\n";
  return out;
}

}  // namespace master
