//! Markdown, the one page of all runs.

mod common;

use common::*;
use results::pages;

#[test]
fn markdown() {
    insta::assert_snapshot!(pages::markdown(&reports()));
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

#[test]
fn no_text_of_a_result_becomes_markup() {
    let page = pages::markdown(&hostile(reports()));
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
