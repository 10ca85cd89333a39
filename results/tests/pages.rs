//! The pages that are made of reports.

mod common;

use common::*;
use results::{Report, pages};

/// Two stacks that differ in one verdict, and a second run of the first stack.
fn reports() -> Vec<Report> {
    let first = report(&run(cases(), vec![]));
    let mut other = report(&run(cases(), benches()));
    other.run_id = "20261124T070000Z-11aa".into();
    other.started = "2026-11-24T07:00:00Z".into();
    other.finished = None;
    other.stack = stack("uml", "6.1.0");
    other.cases.remove(3);
    other.cases[2] = case(
        "special.mkfifo",
        "A named pipe can be made",
        ok(0.2),
        ok(0.4),
    );
    let mut bench = report(&run(vec![], benches()));
    bench.run_id = "20261123T080000Z-77cc".into();
    vec![first, other, bench]
}

#[test]
fn html() {
    insta::assert_snapshot!(pages::html(&reports()));
}

#[test]
fn markdown() {
    insta::assert_snapshot!(pages::markdown(&reports()));
}

#[test]
fn pages_of_a_bench_alone_and_of_nothing_hold_no_empty_matrix() {
    let bench = pages::html(&[report(&run(vec![], benches()))]);
    assert!(
        !bench.contains("id=\"matrix\"") && bench.contains("<svg"),
        "{bench}"
    );
    assert!(!pages::html(&[]).contains("<svg"));
}

#[test]
fn of_two_runs_of_a_stack_the_later_result_counts() {
    let mut old = report(&run(vec![case("a.b", "", ok(1.0), ok(1.0))], vec![]));
    let mut new = report(&run(
        vec![case("a.b", "", ok(1.0), error("open", "EIO", ""))],
        vec![],
    ));
    (old.started, new.started) = ("2026-01-01T00:00:00Z".into(), "2026-02-01T00:00:00Z".into());
    for order in [[old.clone(), new.clone()], [new, old]] {
        let page = pages::markdown(&order);
        assert!(page.contains("| `a.b` | ✗ fails: open: EIO |"), "{page}");
    }
}

/// Writes the sample's page where someone can look at it in a browser.
#[test]
fn the_sample_page_can_be_looked_at() {
    let Some(dir) = std::env::var_os("LOOK_AT_PAGES") else {
        return;
    };
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(
        std::path::Path::new(&dir).join("index.html"),
        pages::html(&reports()),
    )
    .unwrap();
}

/// What someone may have called a file, a program or a host, to break out of wherever it is written.
const HOSTILE: &str = r#""'><script>alert(1)</script><img src=x onerror=alert(1)></style></td>--> `|`{{ 7*7 }}{% x %}"#;

/// Every text of the report, made hostile; those that the schema restricts stay as they are.
fn make_hostile(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Array(items) => items.iter_mut().for_each(make_hostile),
        Value::Object(members) => {
            for (key, member) in members {
                if !["outcome", "verdict", "kind", "started", "finished"].contains(&key.as_str()) {
                    make_hostile(member);
                }
            }
        }
        Value::String(text) => text.push_str(HOSTILE),
        _ => {}
    }
}

fn hostile_reports() -> Vec<Report> {
    let mut value = serde_json::to_value(reports()).unwrap();
    make_hostile(&mut value);
    serde_json::from_value(value).unwrap()
}

/// The tags of a page with the names of their attributes, without any value or text.
fn skeleton(page: &str) -> Vec<String> {
    let (head, body) = page.split_once("<body>").unwrap();
    let tags = body.split('<').skip(1).map(|rest| {
        let mut in_value = false;
        let tag: String = rest
            .chars()
            .take_while(|c| {
                if *c == '"' {
                    in_value = !in_value;
                }
                in_value || *c != '>'
            })
            .collect();
        tag.split('"').step_by(2).collect()
    });
    std::iter::once(head.to_owned()).chain(tags).collect()
}

#[test]
fn no_text_of_a_result_becomes_markup() {
    let (plain, hostile) = (pages::html(&reports()), pages::html(&hostile_reports()));
    assert!(
        hostile.contains("&lt;script&gt;alert(1)"),
        "the hostile texts are shown"
    );
    assert!(!hostile.contains("<script") && !hostile.contains("<img"));
    let (plain, hostile) = (skeleton(&plain), skeleton(&hostile));
    for (a, b) in plain.iter().zip(&hostile) {
        assert_eq!(a, b);
    }
    assert_eq!(plain.len(), hostile.len());
}

#[test]
fn no_text_of_a_result_becomes_markup_in_markdown() {
    let page = pages::markdown(&hostile_reports());
    // Within code spans, which their fences protect, markup is only text.
    let outside: String = page
        .lines()
        .map(|line| {
            let mut rest = line.replace("\\`", "");
            while let Some(start) = rest.find('`') {
                let fence: String = rest[start..].chars().take_while(|c| *c == '`').collect();
                let after = start + fence.len();
                let end = rest[after..]
                    .find(&fence)
                    .expect("every code span is closed on its line");
                rest.replace_range(start..after + end + fence.len(), "");
            }
            rest + "\n"
        })
        .collect();
    assert!(
        outside.contains("&lt;script&gt;"),
        "the hostile texts are shown"
    );
    assert!(!outside.replace("<br>", "").contains('<'), "{outside}");
    // As many cells as the table has columns, whatever stands in them.
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    for table in page.split("\n\n").filter(|t| t.starts_with("| ")) {
        let columns = cells(table.lines().next().unwrap());
        assert!(table.lines().all(|line| cells(line) == columns), "{table}");
    }
}
