#include "master/store/store_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdio>
#include <ctime>
#include <vector>

#include "base/log.h"
#include "base/sys.h"

namespace master {

using base::Kind;
using base::Result;
using base::Status;

namespace {

// Damaged pages hide whole ranges of ids; so many in a row, and there is nothing behind them.
constexpr int64_t kMostUnreadable = 1'000'000;

constexpr const char* kObjects =
    "CREATE TABLE IF NOT EXISTS object(id INTEGER PRIMARY KEY, key TEXT NOT NULL, revision INTEGER "
    "NOT NULL, value BLOB NOT NULL, "
    "sum INTEGER NOT NULL DEFAULT 0)";

void add_functions(sqlite3* db) {
  sqlite3_create_function_v2(
      db, "record_sum", 3, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nullptr,
      [](sqlite3_context* out, int, sqlite3_value** in) {
        auto bytes = [](sqlite3_value* value) {
          const void* data = sqlite3_value_blob(value);  // before its size: it may convert
          return std::string_view(static_cast<const char*>(data),
                                  static_cast<size_t>(sqlite3_value_bytes(value)));
        };
        sqlite3_result_int64(out, record_sum(bytes(in[0]), sqlite3_value_int64(in[1]), bytes(in[2])));
      },
      nullptr, nullptr, nullptr);
}

Result<Sqlite> open_file(const std::string& path, int flags) {
  sqlite3* raw = nullptr;
  mode_t old = ::umask(0077);
  int code = sqlite3_open_v2(path.c_str(), &raw, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  ::umask(old);
  Sqlite db(raw);
  if (code != SQLITE_OK) return sqlite_error(db.get(), "open store", path);
  add_functions(db.get());
  return db;
}

Status take_over(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return base::sys::last_error("rename", from);
  std::string dir = to.substr(0, to.rfind('/') == to.npos ? 0 : to.rfind('/') + 1);
  base::UniqueFd fd = TRY(base::sys::open(dir.empty() ? "." : dir, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return base::sys::last_error("fsync", dir);
  return {};
}

// Records one by one, each by the next id, so that what can't be read costs no more than itself.
size_t copy_records(sqlite3* from, sqlite3* to) {
  bool has_sums =
      query_number(from, "SELECT COUNT(*) FROM pragma_table_info('object') WHERE name='sum'", 0) > 0;
  std::string sum = has_sums ? "sum" : "record_sum(key, revision, value)";
  SqliteStatement next = prepare(
      from,
      ("SELECT id, key, revision, value, " + sum + " FROM object WHERE id > ?1 ORDER BY id LIMIT 1").c_str());
  SqliteStatement put =
      prepare(to, "INSERT INTO object(id, key, revision, value, sum) VALUES(?1, ?2, ?3, ?4, ?5)");
  size_t copied = 0;
  if (!next || !put) return copied;
  int64_t after = 0;
  for (int64_t unreadable = 0; unreadable < kMostUnreadable;) {
    sqlite3_bind_int64(next.get(), 1, after);
    int code = sqlite3_step(next.get());
    if (code == SQLITE_DONE) break;
    if (code == SQLITE_ROW) {
      after = sqlite3_column_int64(next.get(), 0);
      sqlite3_bind_int64(put.get(), 1, after);
      for (int column = 1; column < 5; ++column)
        sqlite3_bind_value(put.get(), column + 1, sqlite3_column_value(next.get(), column));
      if (sqlite3_step(put.get()) == SQLITE_DONE) ++copied;
      sqlite3_reset(put.get());
      unreadable = 0;
    } else {
      ++after, ++unreadable;
    }
    sqlite3_reset(next.get());
  }
  return copied;
}

}  // namespace

base::Error sqlite_error(sqlite3* db, const char* operation, const std::string& path) {
  int code = sqlite3_errcode(db);
  bool corrupt = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
  Kind kind = code == SQLITE_FULL || code == SQLITE_NOMEM ? Kind::kExhausted
              : corrupt                                   ? Kind::kCorrupt
                                                          : Kind::kUnavailable;
  const char* hint = code == SQLITE_FULL       ? "free disk space"
                     : code == SQLITE_BUSY     ? "another master runs on this directory"
                     : code == SQLITE_CANTOPEN ? "is the directory there and writable?"
                     : corrupt ? "restore the whole directory from a backup, or start once with "
                                 "--accept-data-loss to go on with what can be read of it"
                               : "";
  return base::make_error(kind, operation, path, sqlite3_errmsg(db), hint);
}

bool execute(sqlite3* db, const std::string& sql) {
  return sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK;
}

SqliteStatement prepare(sqlite3* db, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  return SqliteStatement(statement);
}

int64_t query_number(sqlite3* db, const char* sql, int64_t fallback) {
  SqliteStatement query = prepare(db, sql);
  return query && sqlite3_step(query.get()) == SQLITE_ROW ? sqlite3_column_int64(query.get(), 0) : fallback;
}

std::string_view column_bytes(sqlite3_stmt* row, int column) {
  const void* data = sqlite3_column_blob(row, column);  // before its size: it may convert
  return {static_cast<const char*>(data), static_cast<size_t>(sqlite3_column_bytes(row, column))};
}

int64_t record_sum(std::string_view key, int64_t revision, std::string_view value) {
  auto add = [](uLong sum, const void* data, size_t size) {
    return ::crc32_z(sum, static_cast<const Bytef*>(data), size);
  };
  unsigned char number[8];
  for (int i = 0; i < 8; ++i)
    number[i] = static_cast<unsigned char>(static_cast<uint64_t>(revision) >> (8 * i));
  // The number stands between the texts, so that no byte can wander from one to the other.
  return static_cast<int64_t>(
      add(add(add(0, key.data(), key.size()), number, sizeof number), value.data(), value.size()));
}

Result<Sqlite> open_store_file(const std::string& path) { return open_file(path, SQLITE_OPEN_READWRITE); }

Status create_store_file(const std::string& path) {
  std::string fresh = path + ".new";
  for (const char* end : {"", "-journal", "-wal"}) ::unlink((fresh + end).c_str());
  {
    Sqlite db = TRY(open_file(fresh, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    TRY(bring_up_to_layout(db.get(), fresh));
  }
  return take_over(fresh, path);
}

Status bring_up_to_layout(sqlite3* db, const std::string& path) {
  SqliteStatement query = prepare(db, "PRAGMA user_version");
  if (!query || sqlite3_step(query.get()) != SQLITE_ROW) return sqlite_error(db, "open store", path);
  int64_t layout = sqlite3_column_int64(query.get(), 0);
  query.reset();
  if (layout > kStoreLayout)
    return base::make_error(Kind::kUnsupported, "open store", path,
                            "its layout " + std::to_string(layout) + " is newer than this program's " +
                                std::to_string(kStoreLayout),
                            "start the sampan-master that wrote it");
  if (layout == kStoreLayout) return {};
  bool has_objects = query_number(db, "SELECT COUNT(*) FROM pragma_table_info('object')", 0) > 0;
  bool by_key = has_objects &&
                query_number(db, "SELECT COUNT(*) FROM pragma_table_info('object') WHERE name='id'", 0) == 0;
  std::vector<std::string> steps = {"BEGIN IMMEDIATE"};
  if (by_key) steps.push_back("ALTER TABLE object RENAME TO former_object");
  else if (has_objects) steps.push_back("ALTER TABLE object ADD COLUMN sum INTEGER NOT NULL DEFAULT 0");
  steps.push_back(kObjects);
  if (by_key) {
    steps.push_back(
        "INSERT INTO object(key, revision, value) SELECT key, revision, value FROM former_object "
        "ORDER BY revision");
    steps.push_back("DROP TABLE former_object");
  }
  steps.push_back("UPDATE object SET sum=record_sum(key, revision, value)");
  steps.push_back("CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL)");
  steps.push_back(
      "INSERT OR IGNORE INTO meta VALUES('revision', 0), ('deleted', 0), ('id', (random() & "
      "0x7fffffffffffffff) | 1)");
  steps.push_back("PRAGMA user_version=" + std::to_string(kStoreLayout));
  steps.push_back("COMMIT");
  for (const std::string& sql : steps)
    if (!execute(db, sql)) {
      base::Error error =
          sqlite_error(db, has_objects ? "bring store to today's layout" : "prepare store", path);
      execute(db, "ROLLBACK");
      return error;
    }
  return {};
}

Result<size_t> rebuild_store_file(const std::string& path) {
  std::string rebuilt = path + ".rebuilt", kept = path + ".damaged-" + std::to_string(::time(nullptr));
  ::unlink(rebuilt.c_str());
  TRY(create_store_file(rebuilt));
  size_t copied = 0;
  {
    Sqlite to = TRY(open_store_file(rebuilt));
    auto from = open_store_file(path);
    if (from.ok()) {
      sqlite3_db_config(from->get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
      execute(to.get(), "BEGIN IMMEDIATE");
      copied = copy_records(from->get(), to.get());
      for (const char* name : {"id", "revision", "deleted"}) {
        std::string of = std::string(" FROM meta WHERE name='") + name + "'";
        if (int64_t value = query_number(from->get(), ("SELECT value" + of).c_str(), 0); value > 0)
          execute(to.get(), "UPDATE meta SET value=" + std::to_string(value) + " WHERE name='" + name + "'");
      }
      if (!execute(to.get(), "COMMIT")) return sqlite_error(to.get(), "rebuild store", rebuilt);
    }
  }
  for (const char* end : {"-wal", "-shm", ""})
    if (base::sys::exists(path + end)) TRY(take_over(path + end, kept + end));
  TRY(take_over(rebuilt, path));
  base::log::warning("store {}: {} records could be read; the damaged file is kept as {}", path, copied,
                     kept);
  return copied;
}

}  // namespace master
