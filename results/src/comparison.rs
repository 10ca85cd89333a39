//! One workload on several volumes side by side, for the terminal and as a picture.

use crate::{
    BenchResult, Samples,
    pages::plot::{self, Bar},
    reporter::table::{bytes, interval, ratio},
    text::{clean, columns, number, pad_left, pad_right, wrap},
};

/// One volume's result, by the name that tells it from the others.
pub type Named<'a> = (&'a str, &'a BenchResult);

/// The heads of a table's columns after the name.
const HEADS: [&str; 6] = [
    "rate, 95 % interval",
    "of native",
    "p50",
    "p99",
    "messages/op",
    "bytes/op",
];

/// A table of one workload: a line for native, a line a volume, and what makes the figures doubtful. Empty where
/// there is no volume.
pub fn table(results: &[Named<'_>], width: usize) -> String {
    let Some((_, first)) = results.first() else {
        return String::new();
    };
    let rate = |samples: &Samples| match samples.rates.is_empty() {
        true => "–".to_owned(),
        false => interval(samples),
    };
    let latency = |latency: Option<crate::Latency>, of: fn(crate::Latency) -> f64| {
        latency.map_or("–".into(), |latency| {
            format!("{} µs", number(of(latency)))
        })
    };
    let mut rows = vec![
        [&["".to_owned()], &HEADS.map(str::to_owned)[..]].concat(),
        vec![
            "native".to_owned(),
            rate(&first.native),
            String::new(),
            latency(first.native_latency, |latency| latency.p50),
            latency(first.native_latency, |latency| latency.p99),
            String::new(),
            String::new(),
        ],
    ];
    for (name, result) in results {
        let wire =
            |of: fn(&crate::WireCount) -> String| result.wire.as_ref().map_or("–".to_owned(), of);
        rows.push(vec![
            clean(name),
            rate(&result.volume),
            ratio(result.ratio),
            latency(result.volume_latency, |latency| latency.p50),
            latency(result.volume_latency, |latency| latency.p99),
            wire(|wire| number(wire.messages_per_operation)),
            wire(|wire| bytes(wire.bytes_per_operation)),
        ]);
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| {
            let cells = rows.iter().map(|row| columns(&row[column]));
            cells.max().unwrap_or(0)
        })
        .collect();
    let mut text = format!(
        "\n{}: {} ({})\n",
        clean(&first.workload),
        clean(&first.title),
        clean(&first.unit)
    );
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line: Vec<String> = cells
            .map(|(column, (cell, width))| match column {
                0 => pad_right(cell, *width),
                _ => pad_left(cell, *width),
            })
            .collect();
        text += &format!("  {}\n", line.join("  ").trim_end());
    }
    for warning in warnings(results) {
        for line in wrap(&clean(&warning), width.saturating_sub(4)) {
            text += &format!("  ! {line}\n");
        }
    }
    text
}

/// What makes the figures doubtful, each warning once: with the names of the volumes, unless it is of all.
fn warnings(results: &[Named<'_>]) -> Vec<String> {
    let mut seen: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, result) in results {
        for warning in &result.warnings {
            match seen.iter_mut().find(|(text, _)| text == warning) {
                Some((_, names)) => names.push(name),
                None => seen.push((warning, vec![name])),
            }
        }
    }
    let told = seen.into_iter().map(|(text, names)| {
        if names.len() == results.len() {
            text.to_owned()
        } else {
            format!("{}: {text}", names.join(", "))
        }
    });
    told.collect()
}

/// A picture that stands alone, as SVG: for each workload a line for native and one a volume, with their intervals.
pub fn picture(workloads: &[Vec<Named<'_>>]) -> String {
    /// Room for a workload's title, and around everything.
    const TITLE: u32 = 30;
    const MARGIN: u32 = 16;
    let mut body = String::new();
    let (mut right, mut y) = (0, MARGIN);
    for results in workloads {
        let Some((_, first)) = results.first() else {
            continue;
        };
        let native = Bar {
            label: "native".to_owned(),
            native: true,
            samples: &first.native,
        };
        let volumes = results.iter().map(|(name, result)| Bar {
            label: (*name).to_owned(),
            native: false,
            samples: &result.volume,
        });
        let bars: Vec<Bar<'_>> = std::iter::once(native).chain(volumes).collect();
        let (svg, (width, height)) = plot::sized(&first.title, &first.unit, &bars);
        let Some(inner) = svg.strip_prefix("<svg ") else {
            continue;
        };
        let title = plot::escape(&format!("{}: {}", first.workload, first.title));
        body += &format!(
            "<text x=\"{MARGIN}\" y=\"{}\" font-family=\"sans-serif\" font-size=\"16\" font-weight=\"bold\" \
             fill=\"currentColor\">{title}</text>\n<svg x=\"{MARGIN}\" y=\"{}\" width=\"{width}\" \
             height=\"{height}\" {inner}\n",
            y + 18,
            y + TITLE
        );
        right = right.max(width + 2 * MARGIN);
        y += TITLE + height + MARGIN;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{right}\" height=\"{y}\" viewBox=\"0 0 {right} {y}\" \
         style=\"color:#1c1e21;background:#ffffff\">\n{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WireCount;

    fn result(volume: f64) -> BenchResult {
        let samples = |rate: f64| Samples::of((0..12).map(|i| rate * (1.0 + 0.01 * f64::from(i))));
        BenchResult {
            workload: "seq_read_1m".into(),
            title: "Reads <of> 1 MiB".into(),
            unit: "MiB/s".into(),
            native: samples(4000.0),
            volume: samples(volume),
            native_latency: None,
            volume_latency: None,
            wire: Some(WireCount {
                messages: 24,
                bytes_to_server: 552,
                bytes_from_server: 12_000_000,
                messages_per_operation: 2.0,
                bytes_per_operation: 1_048_622.0,
                server_busy: 0.5,
            }),
            ratio: volume / 4000.0,
            warnings: vec!["The rates scatter.".into()],
        }
    }

    #[test]
    fn each_volume_has_a_line_and_its_warnings_have_its_name() {
        let (mut slow, fast) = (result(400.0), result(2000.0));
        slow.warnings.push("It is slow.".into());
        let text = table(&[("msize=8192", &slow), ("msize=65536", &fast)], 100);
        let line = |name: &str| text.lines().find(|line| line.trim().starts_with(name));
        assert!(line("msize=8192").is_some_and(|line| line.contains("0.1×")));
        assert!(line("msize=65536").is_some_and(|line| line.contains("1 MiB")));
        assert!(text.contains("! msize=8192: It is slow."), "{text}");
        assert_eq!(text.matches("! The rates scatter.").count(), 1, "{text}");
        assert_eq!(table(&[], 100), "");
    }

    #[test]
    fn the_picture_is_one_whole_svg_with_a_line_a_volume() {
        let (slow, fast) = (result(400.0), result(2000.0));
        let svg = picture(&[vec![("msize=8192", &slow), ("msize=65536", &fast)]]);
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
        assert_eq!(svg.matches("xmlns=").count(), 1);
        for part in [
            "msize=8192",
            "msize=65536",
            "native",
            "Reads &lt;of&gt; 1 MiB",
        ] {
            assert!(svg.contains(part), "{part} is missing in {svg}");
        }
    }
}
