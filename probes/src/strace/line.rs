//! Lines as strace writes them, with or without times, and the halves of calls that others interrupted put together.

use std::collections::HashMap;

/// A call that came to its end, or a signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which process or thread; 0 where the trace does not say.
    pub pid: u32,
    /// When it began, in seconds since 1970 by the clock of where it ran, if the trace has times.
    pub begun: Option<f64>,
    /// How long it took, in seconds.
    pub spent: Option<f64>,
    /// Its name; a signal's for a signal.
    pub name: String,
    /// What is between its parentheses.
    pub args: String,
    /// What it returned.
    pub end: End,
}

/// What a call returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Success, with the value as strace writes it: `3</v/a>`.
    Value(String),
    /// The name of the errno.
    Errno(String),
    /// It did not return: the process ended, or a signal came.
    Unknown,
    /// No call but a signal.
    Signal,
}

/// Reads a whole trace, in the order in which the calls began.
pub fn read(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    // The first half of a call that is under way, by process: where it stands in the list.
    let mut open: HashMap<u32, (usize, String)> = HashMap::new();
    for line in trace.lines() {
        let Some(Stamped { pid, begun, rest }) = stamped(line) else {
            continue;
        };
        if let Some(half) = rest.strip_suffix("<unfinished ...>") {
            if let Some((name, args)) = half.split_once('(') {
                open.insert(pid, (calls.len(), half.to_owned()));
                calls.push(Call {
                    pid,
                    begun,
                    spent: None,
                    name: name.to_owned(),
                    args: args.trim_end().trim_end_matches(',').to_owned(),
                    end: End::Unknown,
                });
            }
        } else if let Some(second) = rest.strip_prefix("<... ") {
            let (Some((_, second)), Some((at, first))) =
                (second.split_once(" resumed>"), open.remove(&pid))
            else {
                continue;
            };
            // `read(3, ` and `"abc", 9) = 3`; also `vfork( ` and `) = 7`.
            let whole = format!("{first}{second}");
            if let Some(call) = finished(&whole, pid, calls[at].begun) {
                calls[at] = call;
            }
        } else if let Some(signal) = rest
            .strip_prefix("--- ")
            .and_then(|s| s.strip_suffix(" ---"))
        {
            let (name, args) = signal.split_once(' ').unwrap_or((signal, ""));
            calls.push(Call {
                pid,
                begun,
                spent: None,
                name: name.to_owned(),
                args: args.to_owned(),
                end: End::Signal,
            });
        } else if let Some(call) = finished(rest, pid, begun) {
            calls.push(call);
        }
    }
    calls
}

struct Stamped<'a> {
    pid: u32,
    begun: Option<f64>,
    rest: &'a str,
}

/// `812   1795424881.698866 openat(…` or, without times, `812   openat(…`.
fn stamped(line: &str) -> Option<Stamped<'_>> {
    let (pid, line) = number(line);
    let (begun, rest) = match line.split_once(' ') {
        Some((time, rest)) if time.contains('.') && time.parse::<f64>().is_ok() => {
            (time.parse().ok(), rest.trim_start())
        }
        _ => (None, line),
    };
    let pid = pid.parse().unwrap_or(0);
    (!rest.is_empty()).then_some(Stamped { pid, begun, rest })
}

/// The number that a line begins with, followed by blanks, and what is behind it.
fn number(line: &str) -> (&str, &str) {
    let end = line
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(line.len());
    match line[end..].strip_prefix(' ') {
        Some(rest) if end > 0 => (&line[..end], rest.trim_start()),
        _ => ("", line),
    }
}

/// `openat(AT_FDCWD</v>, "a", O_RDONLY) = 3</v/a> <0.000062>`
fn finished(text: &str, pid: u32, begun: Option<f64>) -> Option<Call> {
    let (text, spent) = match text.strip_suffix('>').and_then(|t| t.rsplit_once(" <")) {
        Some((rest, spent)) if spent.parse::<f64>().is_ok() => (rest, spent.parse().ok()),
        _ => (text, None),
    };
    let (name, rest) = text.split_once('(')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    let (args, end) = parted(rest)?;
    let end = match end.strip_prefix("-1 ") {
        Some(errno) => End::Errno(errno.split_whitespace().next()?.to_owned()),
        None if end.starts_with('?') => End::Unknown,
        None => End::Value(end.to_owned()),
    };
    Some(Call {
        pid,
        begun,
        spent,
        name: name.to_owned(),
        args: args.to_owned(),
        end,
    })
}

/// What is before the last `) = `, which strace fills up with blanks, and what is behind it.
fn parted(rest: &str) -> Option<(&str, &str)> {
    let mut from = rest.len();
    while let Some(at) = rest[..from].rfind(" = ") {
        if let Some(args) = rest[..at].trim_end().strip_suffix(')') {
            return Some((args.trim_end(), rest[at + 3..].trim()));
        }
        from = at;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_with_and_without_times() {
        let text = "812   1795424881.698866 openat(AT_FDCWD</v>, \"a) = 1\", O_RDONLY) = 3</v/a> <0.000062>\n\
                    mkdir(\"x\", 0777)        = -1 EEXIST (File exists)\n\
                    812   +++ exited with 0 +++\n";
        let calls = read(text);
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0].pid, 812);
        assert_eq!(calls[0].begun, Some(1_795_424_881.698_866));
        assert_eq!(calls[0].spent, Some(0.000_062));
        assert_eq!(calls[0].args, "AT_FDCWD</v>, \"a) = 1\", O_RDONLY");
        assert_eq!(calls[0].end, End::Value("3</v/a>".into()));
        assert_eq!((&*calls[1].name, &*calls[1].args), ("mkdir", "\"x\", 0777"));
        assert_eq!(calls[1].end, End::Errno("EEXIST".into()));
    }

    #[test]
    fn halves_of_calls_are_put_together_where_they_began() {
        let text = "7 1.5 read(3</v/a>,  <unfinished ...>\n\
                    8 1.6 close(4</v/b>) = 0 <0.1>\n\
                    7 1.7 <... read resumed>\"abc\", 9) = 3 <0.2>\n\
                    7 1.8 vfork( <unfinished ...>\n\
                    7 1.9 <... vfork resumed>)  = 9 <0.1>\n\
                    7 2.0 pause( <unfinished ...>\n";
        let calls = read(text);
        let names: Vec<_> = calls.iter().map(|call| &*call.name).collect();
        assert_eq!(names, ["read", "close", "vfork", "pause"]);
        assert_eq!(calls[0].args, "3</v/a>,  \"abc\", 9");
        assert_eq!((calls[0].begun, calls[0].spent), (Some(1.5), Some(0.2)));
        assert_eq!(calls[2].end, End::Value("9".into()));
        assert_eq!(calls[3].end, End::Unknown);
    }

    #[test]
    fn signals_stand_among_the_calls() {
        let text = "7 1.5 --- SIGBUS {si_signo=SIGBUS, si_code=BUS_ADRERR, si_addr=0x7f00} ---\n";
        let calls = read(text);
        assert_eq!((&*calls[0].name, &calls[0].end), ("SIGBUS", &End::Signal));
    }
}
