//! `probe9p @case`: runs one operation case in one directory and prints what it saw.
//!
//! The case is a process of its own, so that a hang, a signal or a panic in it ends nothing else.

use std::{
    any::Any,
    ffi::OsString,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::{Command, ExitCode},
    time::Instant,
};

use nix::errno::Errno;
use results::{Observation, Outcome};

use super::{
    case::{Case, Ctx, Side},
    find, needs,
    stop::{Call, CaseOutcome, Stop, errno_name},
};

/// The first argument of the child that runs one case.
pub const ARGUMENT: &str = "@case";

struct Args {
    /// The case's id.
    id: String,
    /// Which of the two places the directory is in.
    side: Side,
    /// A fresh, empty directory for the case alone.
    dir: PathBuf,
    /// The remedy that is being tried.
    remedy: Option<String>,
}

impl Args {
    /// Reads them by hand: in a user-mode Linux, whose processes fault every page in at a great price, clap takes
    /// longer than most cases do.
    fn parse(args: &[OsString]) -> Option<Args> {
        let (mut id, mut side, mut dir, mut remedy) = (None, None, None, None);
        for pair in args.chunks(2) {
            let [name, value] = pair else { return None };
            match (name.to_str()?, value.to_str()) {
                ("--id", Some(value)) => id = Some(value.to_owned()),
                ("--side", Some("native")) => side = Some(Side::Native),
                ("--side", Some("volume")) => side = Some(Side::Volume),
                ("--remedy", Some(value)) => remedy = Some(value.to_owned()),
                ("--dir", _) => dir = Some(PathBuf::from(value)),
                _ => return None,
            }
        }
        Some(Args {
            id: id?,
            side: side?,
            dir: dir?,
            remedy,
        })
    }
}

/// Runs the case that `args` name when they are a case child's; `None` when they are not.
///
/// `args` are the program's arguments without its own name. The observation is the last line of standard
/// output; the exit code is 0 whenever there is one.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    if args.first().is_none_or(|first| first != ARGUMENT) {
        return None;
    }
    let Some(args) = Args::parse(&args[1..]) else {
        eprintln!(
            "probe9p @case: {args:?} are not --id ID --side native|volume --dir DIR [--remedy ID]."
        );
        return Some(ExitCode::from(70));
    };
    let Some(case) = find(&args.id) else {
        eprintln!(
            "probe9p @case: there is no operation case {:?}; see `probe9p list ops`.",
            args.id
        );
        return Some(ExitCode::from(70));
    };
    let seen = observe(case, args.side, args.dir, args.remedy);
    match serde_json::to_string(&seen) {
        Ok(line) => println!("{line}"),
        Err(error) => {
            eprintln!("probe9p @case: the observation cannot be written as JSON: {error}.");
            return Some(ExitCode::from(70));
        }
    }
    Some(ExitCode::SUCCESS)
}

/// Runs `case` in `dir`, which becomes the process's working directory.
pub fn observe(case: &Case, side: Side, dir: PathBuf, remedy: Option<String>) -> Observation {
    if let Some(reason) = case.needs.iter().find_map(|need| need.unmet()) {
        return Observation {
            outcome: Outcome::NotRun,
            detail: reason,
            ..Default::default()
        };
    }
    // Modes that cases ask for are the modes that they get.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let mut ctx = Ctx::new(dir, side, remedy);
    let start = Instant::now();
    let outcome = run(case, &mut ctx);
    let duration_ms = start.elapsed().as_secs_f64() * 1e3;
    Observation {
        facts: ctx.into_facts(),
        duration_ms,
        ..told(outcome)
    }
}

fn run(case: &Case, ctx: &mut Ctx) -> CaseOutcome {
    rustix::process::chdir(&ctx.dir).call("chdir", ctx.dir.display())?;
    if let Some(script) = case.entrypoint
        && !needs::under_runtime()
    {
        // As a container engine does, and as the VM runtime does not.
        let ran = Command::new("/bin/sh").args(["-ec", script]).status();
        ran.call("execve", "the entry point")?;
    }
    catch_unwind(AssertUnwindSafe(|| (case.run)(ctx))).unwrap_or_else(|panic| {
        Err(Stop::broken(
            "panic",
            format!(
                "the case itself panicked, which is a fault of probe9p: {}",
                said(&*panic)
            ),
        ))
    })
}

/// What a panic said.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

fn told(outcome: CaseOutcome) -> Observation {
    match outcome {
        Ok(()) => Observation {
            outcome: Outcome::Ok,
            ..Default::default()
        },
        Err(Stop::NotRun(detail)) => Observation {
            outcome: Outcome::NotRun,
            detail,
            ..Default::default()
        },
        Err(Stop::Failed {
            call,
            errno,
            detail,
        }) => Observation {
            outcome: Outcome::Error,
            errno: errno.map(|errno| errno_name(Errno::from_raw(errno))),
            call: Some(call),
            failed_calls: errno.map(|_| detail.clone()).into_iter().collect(),
            detail,
            ..Default::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_case_is_told_by_three_options_in_any_order() {
        let args = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            Args::parse(&words).map(|args| (args.id, args.side, args.dir, args.remedy))
        };
        let whole = ["--side", "volume", "--id", "link.nlink", "--dir", "/a"];
        let told = |remedy| ("link.nlink".into(), Side::Volume, "/a".into(), remedy);
        assert_eq!(args(&whole), Some(told(None)));
        let tried = [&whole[..], &["--remedy", "r"]].concat();
        assert_eq!(args(&tried), Some(told(Some("r".to_owned()))));
        assert_eq!(args(&whole[..4]), None);
        assert_eq!(args(&whole[..5]), None);
        assert_eq!(args(&["--side", "both", "--id", "a", "--dir", "/a"]), None);
    }

    #[test]
    fn a_directory_need_not_be_text() {
        let odd = OsString::from_vec(vec![b'/', 255]);
        let args = ["--id", "a", "--side", "native", "--dir"].map(OsString::from);
        let args = Args::parse(&[args.as_slice(), std::slice::from_ref(&odd)].concat()).unwrap();
        assert_eq!(args.dir, odd);
    }
}
