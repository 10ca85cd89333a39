//! A static site of any number of runs: the matrix, a page a tool, case, cause, stack and run, throughput, what
//! changed, and how nearly stacks behave as the reference.
//!
//! The pages need no network and nothing built; they work from `file://`, from any static host and in any directory,
//! since every link is relative. All content is in the HTML: the script only filters it, folds it, and keeps the view
//! in the address. Everything that comes from a report is escaped by the renderer, never by a template.
//!
//! [`Context`] holds what all pages share; each module makes one kind of page of it; the templates in
//! `results/templates/site/` lay it out.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{CaseKind, Form, Matrix, Report, Verdict, matrix::slug};

mod case;
mod cause;
mod changes;
mod fidelity;
mod group;
mod index;
mod links;
mod rows;
mod run;
mod stack;
mod throughput;

/// From so many cases on, a case has no page of its own: its words stand on the page of its tool or family, and the
/// front page has a row for each of those. Else a matrix of 12,000 cases would be 30 MB of pages.
const OWN_PAGES: usize = 1000;

/// What the pages tell besides the runs: the words of catalogues, which reports do not repeat.
#[derive(Debug, Clone, Default)]
pub struct Background {
    /// What the catalogue of causes says, by id.
    pub causes: BTreeMap<String, CauseWords>,
    /// What each tool or family is, in one line, by name.
    pub summaries: BTreeMap<String, String>,
}

/// What the catalogue says of a cause.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CauseWords {
    /// The mechanism in one or two sentences.
    pub summary: String,
    /// Who would have to change: client, server, configuration or runtime.
    pub fault: String,
    /// What one can do about it, each a sentence.
    pub remedies: Vec<String>,
    /// Where it is documented or was reported.
    pub references: Vec<String>,
}

/// The files of a site, by their paths below its directory, with `/` between their parts.
#[derive(Debug, Default)]
pub struct Site {
    /// Pages, style and script: what is read in a browser.
    pub pages: BTreeMap<String, String>,
    /// What is there to download: raw reports, the matrix as data, badges.
    pub downloads: BTreeMap<String, String>,
}

/// What all pages are made of.
struct Context<'a> {
    reports: Vec<&'a Report>,
    matrix: &'a Matrix<'a>,
    background: &'a Background,
    /// The kind of every case, by id.
    kinds: BTreeMap<&'a str, CaseKind>,
    /// Whether cases have pages of their own.
    own_pages: bool,
}

/// What every template needs, with what the page itself shows.
#[derive(Serialize)]
struct Page<T> {
    title: String,
    /// From the page to the site's root: empty, or `../`.
    up: &'static str,
    /// The entry of the navigation that it belongs to.
    here: &'static str,
    has: Has,
    #[serde(flatten)]
    page: T,
}

/// Which parts the site has.
#[derive(Serialize, Clone, Copy)]
struct Has {
    matrix: bool,
    causes: bool,
    throughput: bool,
    changes: bool,
    fidelity: bool,
}

/// Makes the site.
pub fn site(reports: &[Report], background: &Background) -> Site {
    Site {
        pages: pages(reports, background),
        downloads: downloads(reports),
    }
}

/// What is there to download, by its path.
fn downloads(reports: &[Report]) -> BTreeMap<String, String> {
    let raw = |report: &Report| {
        (
            format!("run/{}.json", slug(&report.run_id)),
            report.to_json(),
        )
    };
    let mut files: BTreeMap<String, String> = reports.iter().map(raw).collect();
    let badges = crate::forms::badges(&Matrix::of(reports)).into_iter();
    files.extend(badges.map(|badge| (format!("badge/{}", badge.file), badge.svg())));
    for (name, form) in [
        ("matrix.json", Form::Matrix),
        ("matrix.csv", Form::Csv),
        ("report.md", Form::Markdown),
    ] {
        files.insert(name.into(), form.write(reports, 100));
    }
    files
}

/// The pages, style and script, by their paths.
pub fn pages(reports: &[Report], background: &Background) -> BTreeMap<String, String> {
    let mut sorted: Vec<&Report> = reports.iter().collect();
    sorted.sort_by_key(|report| (&report.started, &report.run_id));
    sorted.dedup_by(|a, b| a == b);
    let matrix = Matrix::of(reports);
    let context = Context {
        reports: sorted,
        own_pages: matrix.cases() < OWN_PAGES,
        kinds: matrix
            .rows()
            .map(|(group, row)| (row.id, group.kind))
            .collect(),
        matrix: &matrix,
        background,
    };
    let causes = cause::of(&context);
    let throughput = throughput::of(&context);
    let changes = changes::of(&context);
    let fidelity = fidelity::of(&context);
    let has = Has {
        matrix: !matrix.groups.is_empty(),
        causes: !causes.causes.is_empty(),
        throughput: !throughput.workloads.is_empty(),
        changes: !changes.runs.is_empty(),
        fidelity: !fidelity.references.is_empty(),
    };
    let mut writer = Writer {
        pages: BTreeMap::new(),
        has,
    };

    writer.page(
        "index.html",
        "index.html",
        "What works on a 9p volume",
        "matrix",
        index::of(&context),
    );
    for group in &matrix.groups {
        let page = group::of(&context, group);
        writer.page(
            &links::group(group.kind, group.name),
            "group.html",
            group.name,
            "matrix",
            page,
        );
    }
    if context.own_pages {
        for (group, row) in matrix.rows() {
            let page = case::of(&context, group, row);
            writer.page(
                &links::case_page(row.id),
                "case.html",
                row.id,
                "matrix",
                page,
            );
        }
    }
    for page in causes.causes {
        let (path, title) = (links::cause(&page.id), page.id.clone());
        writer.page(&path, "cause.html", &title, "causes", page);
    }
    if has.causes {
        writer.page(
            "causes.html",
            "causes.html",
            "Causes",
            "causes",
            cause::list(&context),
        );
    }
    for column in &matrix.stacks {
        let title = links::label(column);
        writer.page(
            &links::stack(&column.id),
            "stack.html",
            &title,
            "stacks",
            stack::of(&context, column),
        );
    }
    writer.page(
        "stacks.html",
        "stacks.html",
        "Stacks and runs",
        "stacks",
        stack::list(&context),
    );
    for report in &context.reports {
        writer.page(
            &links::run(&report.run_id),
            "run.html",
            &report.run_id,
            "stacks",
            run::of(&context, report),
        );
    }
    if has.throughput {
        writer.page(
            "throughput.html",
            "throughput.html",
            "Throughput",
            "throughput",
            throughput,
        );
    }
    if has.changes {
        writer.page(
            "changes.html",
            "changes.html",
            "What changed",
            "changes",
            changes,
        );
    }
    if has.fidelity {
        writer.page(
            "fidelity.html",
            "fidelity.html",
            "Fidelity",
            "fidelity",
            fidelity,
        );
    }
    let own = [
        ("style.css", include_str!("../templates/site/style.css")),
        ("site.js", include_str!("../templates/site/site.js")),
    ];
    let mut pages = writer.pages;
    pages.extend(own.map(|(name, text)| (name.to_owned(), text.to_owned())));
    pages
}

struct Writer {
    pages: BTreeMap<String, String>,
    has: Has,
}

impl Writer {
    fn page(
        &mut self,
        path: &str,
        template: &str,
        title: &str,
        here: &'static str,
        page: impl Serialize,
    ) {
        let page = Page {
            title: title.to_owned(),
            up: if path.contains('/') { "../" } else { "" },
            here,
            has: self.has,
            page,
        };
        let text = crate::pages::render(&format!("site/{template}"), &page);
        self.pages.insert(path.to_owned(), text);
    }
}

/// How often a verdict occurs, and how wide it is in a bar of 100.
#[derive(Serialize)]
struct Count {
    class: char,
    verdict: &'static str,
    count: usize,
    from: f64,
    width: f64,
}

/// The counts of verdicts, for a bar and in words.
fn counts(counts: &[(Verdict, usize)]) -> Vec<Count> {
    let all: usize = counts.iter().map(|(_, n)| n).sum();
    let share = |n: usize| (n as f64 * 1000.0 / all as f64).round() / 10.0;
    let mut before = 0;
    let count = |(verdict, n): &(Verdict, usize)| {
        let from = share(before);
        before += n;
        Count {
            class: class(*verdict),
            verdict: verdict.name(),
            count: *n,
            from,
            width: ((share(before) - from) * 10.0).round() / 10.0,
        }
    };
    counts.iter().map(count).collect()
}

/// The letter that stands for a verdict in the pages' markup: tens of thousands of cells have one.
fn class(verdict: Verdict) -> char {
    match verdict {
        Verdict::Works => 'w',
        Verdict::Degraded => 'd',
        Verdict::Workaround => 'r',
        Verdict::Unstable => 'u',
        Verdict::Fails => 'f',
        Verdict::Hangs => 'h',
        Verdict::Crashes => 'c',
        Verdict::Skipped => 's',
        Verdict::Invalid => 'i',
    }
}

/// `tool` or `operations`.
pub(crate) fn kind(kind: CaseKind) -> &'static str {
    match kind {
        CaseKind::Tool => "tool",
        CaseKind::Op => "operations",
    }
}
