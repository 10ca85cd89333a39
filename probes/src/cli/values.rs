//! Values that several subcommands take on the command line.

use std::{fmt, str::FromStr};

use nix::unistd::{Group, User};
use results::FailOn;

/// A user and group, `1000`, `1000:1000`, `nobody` or `nobody:nogroup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAs {
    /// The user's number.
    pub uid: u32,
    /// The group's number; the user's own group unless one was given.
    pub gid: u32,
}

impl RunAs {
    /// User and group as a pair.
    pub fn pair(self) -> (u32, u32) {
        (self.uid, self.gid)
    }
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl FromStr for RunAs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let (uid, own_group) = match user.parse() {
            Ok(uid) => {
                let known = User::from_uid(nix::unistd::Uid::from_raw(uid))
                    .ok()
                    .flatten();
                (uid, known.map_or(uid, |user| user.gid.as_raw()))
            }
            Err(_) => {
                let known = User::from_name(user).ok().flatten().ok_or_else(|| {
                    format!("there is no user {user:?}; give a number, or a name of /etc/passwd")
                })?;
                (known.uid.as_raw(), known.gid.as_raw())
            }
        };
        let gid = match group {
            None => own_group,
            Some(group) => match group.parse() {
                Ok(gid) => gid,
                Err(_) => Group::from_name(group)
                    .ok()
                    .flatten()
                    .ok_or_else(|| {
                        format!(
                            "there is no group {group:?}; give a number, or a name of /etc/group"
                        )
                    })?
                    .gid
                    .as_raw(),
            },
        };
        Ok(RunAs { uid, gid })
    }
}

/// A threshold that needs no earlier run.
pub fn verdict(text: &str) -> Result<FailOn, String> {
    match text.parse()? {
        FailOn::Regression => Err(
            "there is no earlier run to compare with here; take a verdict, or use `probe9p run`"
                .into(),
        ),
        threshold => Ok(threshold),
    }
}

/// A factor for time limits, above zero.
pub fn scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err(format!(
            "{text:?} is no factor; give a number above 0, such as 2 or 0.5"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_or_names() {
        assert_eq!("1:2".parse(), Ok(RunAs { uid: 1, gid: 2 }));
        assert_eq!("root".parse(), Ok(RunAs { uid: 0, gid: 0 }));
        assert_eq!(
            "4000000".parse(),
            Ok(RunAs {
                uid: 4_000_000,
                gid: 4_000_000
            })
        );
        assert!(
            "no such user"
                .parse::<RunAs>()
                .unwrap_err()
                .starts_with("there is no user")
        );
        assert!(
            "0:no such group"
                .parse::<RunAs>()
                .unwrap_err()
                .starts_with("there is no group")
        );
    }

    #[test]
    fn a_scale_is_above_zero() {
        assert_eq!(scale("0.5"), Ok(0.5));
        for bad in ["0", "-1", "inf", "NaN", "x"] {
            assert!(scale(bad).is_err(), "{bad}");
        }
    }
}
