//! What must hold after a script, natively and on the volume alike: its end, what it wrote, what it left.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

/// What must hold, natively and on the volume alike.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The script's exit code.
    #[serde(default)]
    pub exit: i32,
    /// Texts that its output (both streams) must have.
    #[serde(default)]
    pub output: Vec<String>,
    /// Regular expressions that must match somewhere in its output; `^` and `$` are the ends of a line.
    #[serde(default)]
    pub patterns: Vec<Pattern>,
    /// Facts that must have exactly these values.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// What must be left, by the name below the case's directory.
    #[serde(default)]
    pub files: BTreeMap<String, FileState>,
}

/// A regular expression, of the syntax of the crate `regex`.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(with = "String")]
pub struct Pattern(Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let compiled = regex::bytes::RegexBuilder::new(&text)
            .multi_line(true)
            .build();
        compiled.map(Pattern).map_err(|error| {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            let reason = reason.trim_start_matches("error: ");
            de::Error::custom(format!(
                "the pattern `{text}` is no regular expression: {reason}"
            ))
        })
    }
}

/// What a file must be.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileState {
    /// What it is; symbolic links are not followed.
    #[serde(default)]
    pub kind: Kind,
    /// Its permission bits in octal, `0640`.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Its whole content; of a symbolic link, where it leads.
    #[serde(default)]
    pub content: Option<String>,
    /// A regular expression that must match somewhere in its content, line by line.
    #[serde(default)]
    pub pattern: Option<Pattern>,
    /// Its length in bytes.
    #[serde(default)]
    pub size: Option<u64>,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    #[default]
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A socket.
    Socket,
    /// A FIFO.
    Fifo,
    /// Nothing is there.
    Absent,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::File => "a regular file",
            Kind::Directory => "a directory",
            Kind::Symlink => "a symbolic link",
            Kind::Socket => "a socket",
            Kind::Fifo => "a FIFO",
            Kind::Absent => "absent",
        }
    }
}

/// Permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Mode(u32);

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bits = u32::from_str_radix(&text, 8)
            .ok()
            .filter(|bits| *bits <= 0o7777);
        bits.map(Mode).ok_or_else(|| {
            de::Error::custom(format!(
                "the mode `{text}` is not one in octal, such as \"0640\""
            ))
        })
    }
}

impl Expect {
    /// The first expectation that output, facts and the directory do not meet; the exit code is not looked at.
    pub fn unmet(
        &self,
        output: &str,
        facts: &BTreeMap<String, String>,
        dir: &Path,
    ) -> Option<String> {
        if let Some(text) = self.output.iter().find(|text| !output.contains(*text)) {
            return Some(format!("the output lacks `{text}`"));
        }
        let matches = |pattern: &&Pattern| pattern.0.is_match(output.as_bytes());
        if let Some(pattern) = self.patterns.iter().find(|pattern| !matches(pattern)) {
            return Some(format!("nothing in the output matches `{}`", pattern.0));
        }
        let fact = self
            .facts
            .iter()
            .find_map(|(name, value)| match facts.get(name) {
                Some(seen) if seen == value => None,
                Some(seen) => Some(format!("`{name}` is `{seen}` instead of `{value}`")),
                None => Some(format!("the script did not report `{name}`")),
            });
        fact.or_else(|| {
            let mut files = self.files.iter();
            files.find_map(|(name, state)| state.unmet(name, &dir.join(name)))
        })
    }
}

impl FileState {
    /// What of it does not hold for the file at `path`, which messages call `name`.
    fn unmet(&self, name: &str, path: &Path) -> Option<String> {
        let data = match fs::symlink_metadata(path) {
            Ok(data) => data,
            Err(_) if self.kind == Kind::Absent => return None,
            Err(error) => return Some(format!("`{name}` is not there ({error})")),
        };
        let kind = data.file_type();
        let right = match self.kind {
            Kind::File => kind.is_file(),
            Kind::Directory => kind.is_dir(),
            Kind::Symlink => kind.is_symlink(),
            Kind::Socket => kind.is_socket(),
            Kind::Fifo => kind.is_fifo(),
            Kind::Absent => false,
        };
        if !right {
            return Some(format!("`{name}` is not {}", self.kind.words()));
        }
        let mode = data.mode() & 0o7777;
        if let Some(Mode(wanted)) = self.mode
            && mode != wanted
        {
            return Some(format!(
                "`{name}` has mode {mode:04o} instead of {wanted:04o}"
            ));
        }
        if let Some(wanted) = self.size
            && data.len() != wanted
        {
            return Some(format!(
                "`{name}` has {} bytes instead of {wanted}",
                data.len()
            ));
        }
        if self.content.is_none() && self.pattern.is_none() {
            return None;
        }
        let content = if kind.is_symlink() {
            fs::read_link(path).map(|to| to.into_os_string().into_encoded_bytes())
        } else {
            fs::read(path)
        };
        let content = match content {
            Ok(content) => content,
            Err(error) => return Some(format!("`{name}` cannot be read ({error})")),
        };
        if let Some(wanted) = &self.content
            && content != wanted.as_bytes()
        {
            let seen: String = String::from_utf8_lossy(&content).chars().take(80).collect();
            return Some(format!("`{name}` holds `{seen}` instead of what it should"));
        }
        match &self.pattern {
            Some(Pattern(wanted)) if !wanted.is_match(&content) => {
                Some(format!("nothing in `{name}` matches `{wanted}`"))
            }
            _ => None,
        }
    }
}
