// The file of the embedded store: its layout and what becomes of a damaged one. Nothing here is
// called while writes are under way; store_sqlite.cc is who writes.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace master {

// 1: objects by key. 2: objects in the order in which they came. 3: with sums, and an identity.
// Kept in the file as user_version.
constexpr int kStoreLayout = 3;

struct CloseSqlite {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Sqlite = std::unique_ptr<sqlite3, CloseSqlite>;
using SqliteStatement = std::unique_ptr<sqlite3_stmt, CloseSqlite>;

base::Error sqlite_error(sqlite3* db, const char* operation, const std::string& path);
bool execute(sqlite3* db, const std::string& sql);
SqliteStatement prepare(sqlite3* db, const char* sql);  // null on error
int64_t query_number(sqlite3* db, const char* sql,
                     int64_t fallback);  // first column of the first row
std::string_view column_bytes(sqlite3_stmt* row, int column);

// Of a record as it lies in the file: another one when any byte of it changed.
int64_t record_sum(std::string_view key, int64_t revision, std::string_view value);

// Opens what is there; kNotFound where nothing is.
base::Result<Sqlite> open_store_file(const std::string& path);
// Makes an empty one, which appears under its name all at once: a file of that name is never half a
// store.
base::Status create_store_file(const std::string& path);
// Makes a former layout today's, in one transaction: a crash leaves the one or the other.
base::Status bring_up_to_layout(sqlite3* db, const std::string& path);
// Whatever can be read of a damaged store becomes a new one of the same identity; the damaged files
// are kept under the names ….damaged-SECONDS. How many records that were.
base::Result<size_t> rebuild_store_file(const std::string& path);

}  // namespace master
