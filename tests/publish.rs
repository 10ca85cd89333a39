//! A publication: the runs of a plan, what a machine lacks skipped, and the site of all.

mod common;

use std::fs;

use common::{Place, entries};
use results::Report;

#[test]
fn a_publication_goes_on_where_it_was_and_skips_what_the_machine_lacks() {
    let place = Place::new();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    for dir in ["volume", "published"] {
        fs::create_dir(path(dir)).unwrap();
    }
    let plan = |more: &str| {
        let text = format!(
            "[[run]]\nname = \"there\"\nargs = [\"run\", \"--ops\", \"link\", \"--path\", \"{}\"]\n\
             [[run]]\nname = \"lacking\"\nargs = [\"run\", \"--ops\", \"link\", \"--path\", \"/nonexistent\"]\n{more}",
            path("volume")
        );
        fs::write(path("plan.toml"), text).unwrap();
    };
    let publish = |more: &[&str]| {
        let [plan, published, work, site] = ["plan.toml", "published", "work", "site"].map(path);
        let args = [
            "publish",
            "--plan",
            &plan,
            "--published",
            &published,
            "--work",
            &work,
            "--site",
            &site,
        ];
        place.run(&[&args, more].concat())
    };
    plan("");
    let ran = publish(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("there: 11 works"), "{ran:?}");
    assert!(
        ran.stdout.contains("lacking: skipped: /nonexistent"),
        "{ran:?}"
    );
    let published = entries(&place.path().join("published"));
    let [id] = published.as_slice() else {
        panic!("{published:?}")
    };
    let report = Report::read(place.path().join("published").join(id).join("report.json")).unwrap();
    assert_eq!(report.run_id, *id);
    assert!(entries(&place.path().join("site")).contains(&"index.html".to_owned()));

    // What was run is not run again; what is new in the plan is.
    plan(&format!(
        "[[run]]\nname = \"more\"\nargs = [\"run\", \"--ops\", \"name\", \"--path\", \"{}\"]\n",
        path("volume")
    ));
    let ran = publish(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let after = entries(&place.path().join("published"));
    assert!(after.len() == 2 && after.contains(id), "{after:?}");
    publish(&["--only", "nothing"])
        .says(2, "it has no run \"nothing\"; it has there, lacking, more");
}
