//! Why a case stopped before its end, and how a failed system call says its name.
//!
//! A case is worth what its failure says: the call, the object it was made on and the errno are kept from
//! the place where it failed, because the explanation of a failing case starts from them.

use std::{fmt::Display, io};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// Why a case ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// A call failed, or did not have the effect it must have.
    Failed {
        /// The call, `ftruncate`.
        call: String,
        /// What it failed with, when it did; `None` when it succeeded without its effect.
        errno: Option<i32>,
        /// A sentence that names the call and its object.
        detail: String,
    },
    /// This machine lacks what the case needs.
    NotRun(String),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Failed { detail, .. } | Stop::NotRun(detail) => f.write_str(detail),
        }
    }
}

impl Stop {
    /// `call` succeeded, but what it promises did not happen.
    pub fn broken(call: &str, detail: impl Display) -> Self {
        Stop::Failed {
            call: call.to_owned(),
            errno: None,
            detail: detail.to_string(),
        }
    }

    fn errno(call: &str, args: impl Display, errno: Errno) -> Self {
        Stop::Failed {
            call: call.to_owned(),
            errno: Some(errno as i32),
            detail: format!("{call}({args}) failed: {errno}"),
        }
    }
}

/// What a case, or a part of one, comes to.
pub type CaseOutcome<T = ()> = Result<T, Stop>;

/// An error that carries an errno.
pub trait HasErrno {
    /// The errno.
    fn to_errno(&self) -> Errno;
}

impl HasErrno for Errno {
    fn to_errno(&self) -> Errno {
        *self
    }
}

impl HasErrno for rustix::io::Errno {
    fn to_errno(&self) -> Errno {
        Errno::from_raw(self.raw_os_error())
    }
}

impl HasErrno for io::Error {
    fn to_errno(&self) -> Errno {
        self.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
    }
}

/// The result of a system call, to be told by its name.
pub trait Call<T> {
    /// The call must succeed: `ftruncate(&fd, 0).call("ftruncate", "data, 0")?`.
    fn call(self, name: &str, args: impl Display) -> CaseOutcome<T>;

    /// The call must fail with `errno`, as the standard or Linux's man page says.
    fn refused(self, name: &str, args: impl Display, errno: Errno) -> CaseOutcome;

    /// The call must fail; its errno's name, for a fact that is compared with the native one.
    fn fails(self, name: &str, args: impl Display) -> CaseOutcome<String>;
}

impl<T, E: HasErrno> Call<T> for Result<T, E> {
    fn call(self, name: &str, args: impl Display) -> CaseOutcome<T> {
        self.map_err(|error| Stop::errno(name, args, error.to_errno()))
    }

    fn refused(self, name: &str, args: impl Display, errno: Errno) -> CaseOutcome {
        match self.map_err(|error| error.to_errno()) {
            Err(got) if got == errno => Ok(()),
            Err(got) => Err(Stop::Failed {
                call: name.to_owned(),
                errno: Some(got as i32),
                detail: format!("{name}({args}) failed with {got}; {errno:?} was expected"),
            }),
            Ok(_) => Err(Stop::broken(
                name,
                format!("{name}({args}) succeeded; {errno:?} was expected"),
            )),
        }
    }

    fn fails(self, name: &str, args: impl Display) -> CaseOutcome<String> {
        match self {
            Err(error) => Ok(errno_name(error.to_errno())),
            Ok(_) => Err(Stop::broken(
                name,
                format!("{name}({args}) succeeded; it must fail"),
            )),
        }
    }
}

/// An errno's name, `EINVAL`.
pub fn errno_name(errno: Errno) -> String {
    format!("{errno:?}")
}

/// Turns a libc return value into a result: -1 means that errno is set.
pub fn check<N: Copy + PartialEq + From<i8>>(value: N) -> Result<N, Errno> {
    if value == N::from(-1) {
        Err(Errno::last())
    } else {
        Ok(value)
    }
}

/// `call`'s effect must hold.
pub fn ensure(call: &str, holds: bool, detail: impl Display) -> CaseOutcome {
    if holds {
        Ok(())
    } else {
        Err(Stop::broken(call, detail))
    }
}

/// What `call` leaves behind, named by `what`, must be `want`.
pub fn expect<T: PartialEq + std::fmt::Debug>(
    call: &str,
    what: &str,
    got: T,
    want: T,
) -> CaseOutcome {
    ensure(
        call,
        got == want,
        format_args!("after {call}, {what} is {got:?}; {want:?} was expected"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_call_its_object_and_its_errno() {
        let failed: Result<(), _> = Err(rustix::io::Errno::INVAL);
        let Err(Stop::Failed {
            call,
            errno,
            detail,
        }) = failed.call("mmap", "data, MAP_SHARED")
        else {
            panic!("the failure was lost")
        };
        assert_eq!((call.as_str(), errno), ("mmap", Some(Errno::EINVAL as i32)));
        assert_eq!(
            detail,
            "mmap(data, MAP_SHARED) failed: EINVAL: Invalid argument"
        );
    }

    #[test]
    fn a_call_that_must_be_refused_fails_the_case_when_it_succeeds_or_differs() {
        assert_eq!(
            Err::<(), _>(Errno::EPERM).refused("link", "d", Errno::EPERM),
            Ok(())
        );
        assert!(
            Err::<(), _>(Errno::EIO)
                .refused("link", "d", Errno::EPERM)
                .is_err()
        );
        assert!(
            Ok::<_, Errno>(())
                .refused("link", "d", Errno::EPERM)
                .is_err()
        );
    }
}
