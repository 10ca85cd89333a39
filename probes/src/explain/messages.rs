//! The 9P messages that a server says it got: what the calls of a program became.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// A request and its reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// When the server began with it, in seconds since 1970 by the host's clock.
    #[serde(skip)]
    pub begun: f64,
    /// The request's name, `Twalk`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Path of its fid from the root of the export, where the server tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The request's names and numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// `ok`, or the name of the errno.
    pub result: String,
}

impl Message {
    /// Whether the server refused it.
    pub fn failed(&self) -> bool {
        self.result != "ok"
    }
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.kind)?;
        for part in [&self.path, &self.detail].into_iter().flatten() {
            write!(f, " {part}")?;
        }
        write!(f, " → {}", self.result)
    }
}

/// Reads the trace of server9p: one JSON line a message.
pub fn of_server9p(trace: &str) -> Vec<Message> {
    #[derive(Deserialize)]
    struct Line {
        time: f64,
        #[serde(rename = "type")]
        kind: String,
        path: Option<String>,
        detail: Option<String>,
        result: String,
    }
    let lines = trace
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut messages: Vec<Message> = lines
        .map(|line: Line| Message {
            begun: line.time,
            kind: line.kind,
            path: line.path,
            detail: line.detail,
            result: line.result,
        })
        .collect();
    // Lines are written when the reply is there, and replies overtake each other.
    messages.sort_by(|left, right| left.begun.total_cmp(&right.begun));
    messages
}

/// Reads the events of QEMU's own server (`-trace v9fs_*` with time stamps): requests, returns and errors that are
/// known by their tag. `3190@1795424881.123456:v9fs_walk tag 0 id 110 fid 1 newfid 2 nwnames 1`
pub fn of_qemu(trace: &str) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for line in trace.lines() {
        let Some((time, event)) = line
            .split_once('@')
            .and_then(|(_, rest)| rest.split_once(":v9fs_"))
        else {
            continue;
        };
        let (Ok(begun), Some((name, rest))) = (time.parse::<f64>(), event.split_once(" tag "))
        else {
            continue;
        };
        let (tag, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        // The message's number, which its name says already.
        let detail = rest
            .strip_prefix("id ")
            .and_then(|rest| rest.split_once(' '))
            .map(|(_, detail)| detail.to_owned());
        if name == "rerror" {
            let number = rest.rsplit(' ').next().and_then(|n| n.parse::<i32>().ok());
            if let (Some(at), Some(number)) = (open.remove(tag), number) {
                messages[at].result = crate::tools::calls::errno_name(number.abs());
            }
        } else if name.ends_with("_return") {
            open.remove(tag);
        } else {
            open.insert(tag, messages.len());
            messages.push(Message {
                begun,
                kind: format!("T{name}"),
                path: None,
                detail,
                result: "ok".to_owned(),
            });
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_server_s_lines_are_read_in_the_order_of_requests() {
        let text = concat!(
            r#"{"time":2.5,"session":1,"tag":1,"type":"Tlopen","fid":3,"path":"/a","detail":"flags=0o2","result":"ok","duration_us":9.0}"#,
            "\n",
            r#"{"time":2.0,"session":1,"tag":0,"type":"Twalk","fid":1,"path":"/","detail":"newfid=3 names=a","result":"ENOENT","duration_us":9.0}"#,
            "\nhalf a li"
        );
        let shown: Vec<String> = of_server9p(text).iter().map(Message::to_string).collect();
        assert_eq!(
            shown,
            [
                "Twalk / newfid=3 names=a → ENOENT",
                "Tlopen /a flags=0o2 → ok"
            ]
        );
    }

    #[test]
    fn qemu_s_events_are_put_together_by_their_tags() {
        let text = "1@5.5:v9fs_mkdir tag 0 id 72 fid 2 name x mode 493 gid 0\n\
                    1@5.6:v9fs_lock tag 1 id 52 fid 7 type 1 start 0 length 0\n\
                    1@5.7:v9fs_rerror tag 0 id 72 err 17\n\
                    1@5.8:v9fs_lock_return tag 1 id 52 status 0\n";
        let messages = of_qemu(text);
        let shown: Vec<String> = messages.iter().map(Message::to_string).collect();
        assert_eq!(
            shown,
            [
                "Tmkdir fid 2 name x mode 493 gid 0 → EEXIST",
                "Tlock fid 7 type 1 start 0 length 0 → ok"
            ]
        );
        assert_eq!(messages[1].begun, 5.6);
    }
}
