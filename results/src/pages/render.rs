//! Templates to text. What a template writes is escaped for its format by default, so that no result, whatever
//! a file or program was called, becomes markup.

use std::{borrow::Cow, sync::LazyLock};

use minijinja::{
    AutoEscape, Environment, Error, Output, State, Value, syntax::SyntaxConfig, value::Serde,
};
use serde::Serialize;

use crate::text::clean;

const MARKDOWN: AutoEscape = AutoEscape::Custom(Cow::Borrowed("markdown"));

/// A template that is part of the program, by its name below `results/templates`.
macro_rules! template {
    ($name:literal) => {
        ($name, include_str!(concat!("../../templates/", $name)))
    };
}

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    env.set_syntax(syntax.expect("the delimiters are the usual ones"));
    env.set_auto_escape_callback(|name| match name.rsplit('.').next() {
        Some("html") => AutoEscape::Html,
        Some("md") => MARKDOWN,
        _ => AutoEscape::None,
    });
    env.set_formatter(write_escaped);
    env.add_filter("code", |text: &str| {
        Value::from_safe_string(markdown_code(text))
    });
    // In a table, a `|` ends the cell even within a code span (GitHub Flavored Markdown, 4.10).
    env.add_filter("code_in_cell", |text: &str| {
        Value::from_safe_string(markdown_code(text).replace('|', r"\|"))
    });
    for (name, source) in [
        template!("report.md"),
        template!("site/base.html"),
        template!("site/macros.html"),
        template!("site/matrix.html"),
        template!("site/index.html"),
        template!("site/group.html"),
        template!("site/finding.html"),
        template!("site/case.html"),
        template!("site/cause.html"),
        template!("site/causes.html"),
        template!("site/stack.html"),
        template!("site/stacks.html"),
        template!("site/run.html"),
        template!("site/throughput.html"),
        template!("site/changes.html"),
        template!("site/fidelity.html"),
    ] {
        env.add_template(name, source)
            .expect("the templates are part of the program and parse");
    }
    env
});

/// Renders a template that is part of the program.
pub(crate) fn render(name: &str, page: &impl Serialize) -> String {
    TEMPLATES
        .get_template(name)
        .and_then(|template| template.render(Serde(page)))
        .unwrap_or_else(|error| panic!("the template {name} does not fit its page: {error:#}"))
}

fn write_escaped(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    let text = value.to_string();
    let escaped = match state.auto_escape() {
        _ if value.is_safe() => text,
        AutoEscape::Html => escape_html(&text),
        escape if *escape == MARKDOWN => escape_markdown(&text),
        _ => text,
    };
    out.write_str(&escaped).map_err(Error::from)
}

/// The text as it stands in HTML, between tags or in a quoted attribute.
pub(crate) fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

/// The text as it stands in a line of Markdown or a cell of a table: every character that could be markup, or
/// mention somebody, is escaped.
pub(crate) fn escape_markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '@' => out += "&#64;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// The text as a code span, fenced by more backticks than it holds.
pub(crate) fn markdown_code(text: &str) -> String {
    let text = clean(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if text.starts_with('`') || text.ends_with('`') || text.is_empty() {
        " "
    } else {
        ""
    };
    format!("{fence}{space}{text}{space}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_spans_cannot_be_left() {
        assert_eq!(markdown_code("a"), "`a`");
        assert_eq!(markdown_code("a``b"), "```a``b```");
        assert_eq!(markdown_code("`a"), "`` `a ``");
        assert_eq!(markdown_code("a|b\nc"), "`a|b c`");
    }

    #[test]
    fn markup_is_shown_not_obeyed() {
        assert_eq!(
            escape_markdown("<b> *x* [a](b) |"),
            "&lt;b&gt; \\*x\\* \\[a\\](b) \\|"
        );
        assert_eq!(
            escape_html("<a href='x\"&\u{0}"),
            "&lt;a href=&#39;x&quot;&amp;\\u{0}"
        );
    }
}
