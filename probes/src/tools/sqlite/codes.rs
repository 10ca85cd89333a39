//! Names of SQLite's extended result codes, and the system call that a code speaks of.
//!
//! <https://www.sqlite.org/rescode.html>; which call belongs to a code is read in `os_unix.c`.

use std::ffi::c_int;

use rusqlite::ffi;

macro_rules! names {
    ($code:expr, $($name:ident),+ $(,)?) => {
        match $code {
            $(ffi::$name => Some(stringify!($name)),)+
            _ => None,
        }
    };
}

/// The code's name, `SQLITE_IOERR_SHMMAP`, or its number in words.
pub fn name(code: c_int) -> String {
    let name = names!(
        code,
        SQLITE_ERROR,
        SQLITE_INTERNAL,
        SQLITE_PERM,
        SQLITE_ABORT,
        SQLITE_BUSY,
        SQLITE_LOCKED,
        SQLITE_NOMEM,
        SQLITE_READONLY,
        SQLITE_INTERRUPT,
        SQLITE_IOERR,
        SQLITE_CORRUPT,
        SQLITE_NOTFOUND,
        SQLITE_FULL,
        SQLITE_CANTOPEN,
        SQLITE_PROTOCOL,
        SQLITE_SCHEMA,
        SQLITE_TOOBIG,
        SQLITE_CONSTRAINT,
        SQLITE_MISMATCH,
        SQLITE_MISUSE,
        SQLITE_AUTH,
        SQLITE_RANGE,
        SQLITE_NOTADB,
        SQLITE_BUSY_RECOVERY,
        SQLITE_BUSY_SNAPSHOT,
        SQLITE_BUSY_TIMEOUT,
        SQLITE_LOCKED_SHAREDCACHE,
        SQLITE_CANTOPEN_NOTEMPDIR,
        SQLITE_CANTOPEN_ISDIR,
        SQLITE_CANTOPEN_FULLPATH,
        SQLITE_CANTOPEN_DIRTYWAL,
        SQLITE_CANTOPEN_SYMLINK,
        SQLITE_CORRUPT_INDEX,
        SQLITE_CORRUPT_SEQUENCE,
        SQLITE_CORRUPT_VTAB,
        SQLITE_READONLY_RECOVERY,
        SQLITE_READONLY_CANTLOCK,
        SQLITE_READONLY_ROLLBACK,
        SQLITE_READONLY_DBMOVED,
        SQLITE_READONLY_CANTINIT,
        SQLITE_READONLY_DIRECTORY,
        SQLITE_IOERR_READ,
        SQLITE_IOERR_SHORT_READ,
        SQLITE_IOERR_WRITE,
        SQLITE_IOERR_FSYNC,
        SQLITE_IOERR_DIR_FSYNC,
        SQLITE_IOERR_TRUNCATE,
        SQLITE_IOERR_FSTAT,
        SQLITE_IOERR_UNLOCK,
        SQLITE_IOERR_RDLOCK,
        SQLITE_IOERR_DELETE,
        SQLITE_IOERR_NOMEM,
        SQLITE_IOERR_ACCESS,
        SQLITE_IOERR_CHECKRESERVEDLOCK,
        SQLITE_IOERR_LOCK,
        SQLITE_IOERR_CLOSE,
        SQLITE_IOERR_DIR_CLOSE,
        SQLITE_IOERR_SHMOPEN,
        SQLITE_IOERR_SHMSIZE,
        SQLITE_IOERR_SHMLOCK,
        SQLITE_IOERR_SHMMAP,
        SQLITE_IOERR_SEEK,
        SQLITE_IOERR_DELETE_NOENT,
        SQLITE_IOERR_MMAP,
        SQLITE_IOERR_GETTEMPPATH,
        SQLITE_IOERR_AUTH,
        SQLITE_IOERR_CORRUPTFS,
        SQLITE_IOERR_DATA,
    );
    name.map_or_else(|| format!("SQLite's result code {code}"), str::to_owned)
}

/// The call behind a code, for those that cannot be hooked.
pub fn call(code: c_int) -> Option<&'static str> {
    Some(match code {
        ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => "fsync",
        ffi::SQLITE_IOERR_CLOSE | ffi::SQLITE_IOERR_DIR_CLOSE => "close",
        ffi::SQLITE_IOERR_SEEK => "lseek",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_extended_codes() {
        assert_eq!(name(ffi::SQLITE_IOERR_SHMMAP), "SQLITE_IOERR_SHMMAP");
        assert_eq!(name(10), "SQLITE_IOERR");
        assert_eq!(name(99_999), "SQLite's result code 99999");
    }
}
