//! Text for a terminal or a page: without what could command the terminal, fitted to a width, numbers short.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text without characters that could move a cursor, colour the terminal or reorder what is read: each
/// stands there escaped (`\u{1b}`), a line break as a space. Results hold names of files and output of programs,
/// which anyone may have chosen.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(' '),
            '\r' => {}
            c if is_unprintable(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Control characters, and the marks that change the direction of text (Unicode TR 9, TR 36).
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// Columns that the text takes on a terminal.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// The text filled with spaces to `width` columns on its right.
pub(crate) fn pad_right(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// The text filled with spaces to `width` columns on its left.
pub(crate) fn pad_left(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(columns(text))))
}

/// The text cut to `width` columns, with an ellipsis where something was cut off.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let more = c.width().unwrap_or(0);
        if taken + more + 1 > width {
            break;
        }
        out.push(c);
        taken += more;
    }
    out.push('…');
    out
}

/// The text in lines of at most `width` columns, broken at spaces; a word wider than that is broken anywhere.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word = word;
        loop {
            let line = lines.last_mut().expect("there is always a line");
            let gap = usize::from(!line.is_empty());
            if columns(line) + gap + columns(word) <= width {
                line.extend(std::iter::repeat_n(' ', gap));
                line.push_str(word);
                break;
            }
            if columns(word) > width && line.is_empty() {
                let (head, tail) = split_at_columns(word, width);
                line.push_str(head);
                word = tail;
            }
            lines.push(String::new());
        }
    }
    lines
}

/// Splits after as many characters as fit `width` columns, at least one.
fn split_at_columns(word: &str, width: usize) -> (&str, &str) {
    let mut taken = 0;
    for (at, c) in word.char_indices() {
        taken += c.width().unwrap_or(0);
        if taken > width && at > 0 {
            return word.split_at(at);
        }
    }
    (word, "")
}

/// A duration of so many milliseconds, in the unit that suits it: `340 µs`, `12 ms`, `3.4 s`.
pub(crate) fn duration(ms: f64) -> String {
    if ms < 1.0 {
        format!("{:.0} µs", ms * 1e3)
    } else if ms < 1e3 {
        format!("{} ms", number(ms))
    } else {
        format!("{} s", number(ms / 1e3))
    }
}

/// A number with three significant digits, four from a thousand on, without an exponent, thousands apart:
/// `0.0123`, `45.6`, `1 235 000`.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let magnitude = if value == 0.0 {
        0
    } else {
        value.abs().log10().floor() as i32
    };
    let decimals = (2 - magnitude).clamp(0, 6) as usize;
    let value = if magnitude > 3 {
        let unit = 10f64.powi(magnitude - 3);
        (value / unit).round() * unit
    } else {
        value
    };
    let plain = format!("{value:.decimals$}");
    let plain = if plain.contains('.') {
        plain.trim_end_matches('0').trim_end_matches('.')
    } else {
        &plain
    };
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let digits = whole.trim_start_matches('-');
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        // A no-break thin space would be one column too many to count on in old terminals.
        if i > 0 && (digits.len() - i) % 3 == 0 && digits.len() > 4 {
            grouped.push('\u{a0}');
        }
        grouped.push(digit);
    }
    format!(
        "{}{grouped}{rest}",
        if whole.starts_with('-') { "-" } else { "" }
    )
}

/// `1 case`, `2 cases`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_durations_are_short() {
        let shown = [
            0.0, 0.01234, 0.5, 4.567, 45.67, 456.7, 4567.0, 1234567.0, -12345.6,
        ]
        .map(number);
        assert_eq!(
            shown,
            [
                "0",
                "0.0123",
                "0.5",
                "4.57",
                "45.7",
                "457",
                "4567",
                "1\u{a0}235\u{a0}000",
                "-12\u{a0}350"
            ]
        );
        assert_eq!(number(f64::NAN), "–");
        assert_eq!(
            [0.34, 12.0, 3400.0].map(duration),
            ["340 µs", "12 ms", "3.4 s"]
        );
    }

    #[test]
    fn what_could_command_a_terminal_is_escaped() {
        assert_eq!(
            clean("a\x1b[31mb\r\nc\u{202e}d"),
            "a\\u{1b}[31mb c\\u{202e}d"
        );
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked_and_no_character_is_lost(text in "[a-zé漢 ]{0,80}", width in 2usize..20) {
            let lines = wrap(&text, width);
            for line in &lines {
                prop_assert!(columns(line) <= width, "{line:?}");
            }
            let squeezed = |t: &str| t.split_whitespace().collect::<String>();
            prop_assert_eq!(squeezed(&lines.concat()), squeezed(&text));
        }

        #[test]
        fn a_shortened_text_fits(text in "\\PC{0,40}", width in 1usize..20) {
            prop_assert!(columns(&shorten(&text, width)) <= width);
        }
    }
}
