//! The site: what its pages say, that no result can script them, that every link leads somewhere, and its size.

mod common;

use std::{collections::BTreeSet, time::Instant};

use common::*;
use results::{Background, CauseWords, Report, Site, site, site::site};

fn background() -> Background {
    let words = CauseWords {
        summary: "v9fs refuses shared mappings.".into(),
        fault: "client".into(),
        remedies: vec!["Use another journal mode.".into()],
        references: vec![
            "owner/repo#12".into(),
            "src: fs/9p/vfs_file.c".into(),
            "https://example.org/a".into(),
        ],
    };
    Background {
        causes: [("mmap-shared-writable".to_owned(), words)].into(),
        summaries: [(
            "sqlite".to_owned(),
            "SQLite, the embedded database".to_owned(),
        )]
        .into(),
    }
}

fn made() -> Site {
    site(&reports(), &background())
}

macro_rules! pages_are_as_they_were_looked_at {
    ($($test:ident: $path:literal,)*) => {$(
        #[test]
        fn $test() {
            insta::assert_snapshot!(made().pages[$path]);
        }
    )*};
}

pages_are_as_they_were_looked_at! {
    front_page: "index.html",
    tool_page: "tool/sqlite.html",
    case_page: "case/sqlite.wal.html",
    cause_page: "cause/mmap-shared-writable.html",
    causes_page: "causes.html",
    stack_page: "stack/fuse-server9p-golem-5.10-none-ext4.html",
    run_page: "run/20261123T060102Z-9f3a.html",
    changes_page: "changes.html",
    fidelity_page: "fidelity.html",
}

#[test]
fn the_site_does_not_depend_on_the_order_of_the_reports() {
    let mut reversed = reports();
    reversed.reverse();
    let again = site(&reversed, &background());
    assert_eq!(made().pages, again.pages);
    let names = |site: &Site| site.downloads.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&made()), names(&again));
}

#[test]
fn a_raw_report_can_be_downloaded_and_read() {
    let raw = &made().downloads["run/20261123T060102Z-9f3a.json"];
    let read = Report::parse(raw.as_bytes(), "raw".as_ref()).unwrap();
    assert_eq!(read.cases, reports()[0].cases);
}

#[test]
fn pages_of_a_bench_alone_and_of_nothing_have_no_matrix() {
    let bench = site(&[report(&run(vec![], benches()))], &Background::default());
    assert!(
        !bench.pages["index.html"].contains("id=m>")
            && bench.pages["throughput.html"].contains("<svg")
    );
    let nothing = site(&[], &Background::default());
    assert!(!nothing.pages.contains_key("throughput.html"));
    assert!(nothing.pages.contains_key("index.html"));
}

/// The tags of a page with the names of their attributes, without any value or text: quoted values are cut out, and
/// unquoted ones, which only slugs are.
fn skeleton(page: &str) -> Vec<String> {
    let tag = |rest: &str| {
        let mut quoted = false;
        let tag: String = rest
            .chars()
            .take_while(|c| {
                quoted ^= *c == '"';
                quoted || *c != '>'
            })
            .collect();
        let outside: String = tag.split('"').step_by(2).collect();
        outside
            .split_whitespace()
            .map(|word| word.split('=').next().unwrap_or_default())
            .collect::<Vec<_>>()
            .join(" ")
    };
    page.split('<').skip(1).map(tag).collect()
}

#[test]
fn no_text_of_a_result_becomes_markup_on_any_page() {
    let plain = made();
    let hostile = site(&hostile(reports()), &Background::default());
    let plain_shapes: BTreeSet<String> = plain
        .pages
        .iter()
        .filter(|(path, _)| path.ends_with(".html"))
        .flat_map(|(_, page)| skeleton(page))
        .collect();
    let mut shown = 0;
    for (path, page) in hostile
        .pages
        .iter()
        .filter(|(path, _)| path.ends_with(".html"))
    {
        assert!(
            path.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-~/".contains(&b)),
            "{path}"
        );
        assert!(
            path.split('/')
                .all(|part| part.len() < 200 && !part.starts_with('.')),
            "{path}"
        );
        shown += page.matches("&lt;script&gt;alert(1)").count();
        assert!(
            !page.contains("<script>") && !page.contains("<img"),
            "{path}"
        );
        // No tag has a name or an attribute that no plain page has.
        for shape in skeleton(page) {
            assert!(plain_shapes.contains(&shape), "{path}: <{shape}>");
        }
    }
    assert!(shown > 100, "the hostile texts are shown");
    for (path, text) in &hostile.downloads {
        assert!(
            !path.ends_with(".svg") || !text.contains("<script"),
            "{path}"
        );
    }
}

/// The links of a page, as they stand in its tags.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let tags = page.split('<').skip(1).filter(|tag| {
        ["a ", "link ", "script ", "img "]
            .iter()
            .any(|name| tag.starts_with(name))
    });
    tags.filter_map(|tag| {
        let (_, rest) = tag
            .split_once(" href=")
            .or_else(|| tag.split_once(" src="))?;
        Some(match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next().unwrap_or_default(),
            None => rest.split([' ', '>']).next().unwrap_or_default(),
        })
    })
}

/// Follows every internal link, and says which lead nowhere.
fn dead_links(site: &Site) -> Vec<String> {
    let mut dead = Vec::new();
    for (path, page) in site
        .pages
        .iter()
        .filter(|(path, _)| path.ends_with(".html"))
    {
        for link in links(page).filter(|link| !link.starts_with("https://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match (file.strip_prefix("../"), path.split_once('/')) {
                _ if file.is_empty() => path.clone(),
                (Some(rest), Some(_)) => rest.to_owned(),
                (None, None) => file.to_owned(),
                (None, Some((dir, _))) => format!("{dir}/{file}"),
                (Some(_), None) => "above the site".into(),
            };
            let there = site.pages.get(&target);
            let anchored = anchor.is_empty()
                || anchor.contains('=')
                || there.is_some_and(|page| {
                    [
                        format!(" id={anchor}>"),
                        format!(" id={anchor} "),
                        format!(" id=\"{anchor}\""),
                    ]
                    .iter()
                    .any(|id| page.contains(id))
                });
            if (there.is_none() && !site.downloads.contains_key(&target)) || !anchored {
                dead.push(format!("{path}: {link}"));
            }
        }
    }
    dead
}

#[test]
fn every_link_leads_somewhere() {
    assert_eq!(dead_links(&made()), [""; 0]);
    assert_eq!(
        dead_links(&site(&hostile(reports()), &Background::default())),
        [""; 0]
    );
}

#[test]
fn forty_tools_of_three_hundred_cases_on_twelve_stacks_are_small() {
    for (what, reports) in [
        ("12,000 cases", many::many(40, 300, 12)),
        ("960 cases", many::many(40, 24, 12)),
    ] {
        let began = Instant::now();
        let made = site::pages(&reports, &background());
        let took = began.elapsed();
        let bytes: usize = made.values().map(String::len).sum();
        let largest = made.iter().max_by_key(|(_, page)| page.len()).unwrap();
        println!(
            "{what} on 12 stacks: {} pages, {bytes} bytes, the largest {} with {}, front page {}, made in {took:.1?}",
            made.len(),
            largest.0,
            largest.1.len(),
            made["index.html"].len(),
        );
        let mut parts = std::collections::BTreeMap::<&str, usize>::new();
        for (path, page) in &made {
            *parts
                .entry(path.split('/').next().unwrap_or_default())
                .or_default() += page.len();
        }
        println!("{parts:?}");
        assert!(bytes < 3 << 20, "{what}: {bytes} bytes");
        // None is so large that it could not be read in a moment.
        assert!(largest.1.len() < 1 << 20, "{largest:?}");
        assert_eq!(made["index.html"].matches("<tbody").count(), 40);
        let site = Site {
            pages: made,
            ..Site::default()
        };
        let download = |link: &String| {
            [".json", ".csv", ".md"]
                .iter()
                .any(|end| link.ends_with(end))
        };
        let dead: Vec<String> = dead_links(&site)
            .into_iter()
            .filter(|link| !download(link))
            .collect();
        assert_eq!(dead, [""; 0]);
    }
}
