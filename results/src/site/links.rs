//! Where each page is, as paths below the site's root, and the commands that bring a stack up again.

use crate::{
    CaseKind, Stack,
    matrix::{Column, series, slug},
};

use super::Context;

pub(super) fn group(kind: CaseKind, name: &str) -> String {
    let dir = match kind {
        CaseKind::Tool => "tool",
        CaseKind::Op => "ops",
    };
    format!("{dir}/{}.html", slug(name))
}

/// The page that a case has where cases have pages of their own.
pub(super) fn case_page(id: &str) -> String {
    format!("case/{}.html", slug(id))
}

/// Where a case is told of.
pub(super) fn case(context: &Context<'_>, kind: CaseKind, id: &str) -> String {
    if context.own_pages {
        case_page(id)
    } else {
        format!("{}#{}", group(kind, crate::matrix::family(id)), anchor(id))
    }
}

/// The name of a case's place on the page of its tool or family.
pub(super) fn anchor(id: &str) -> String {
    slug(crate::matrix::name_in_family(id))
}

pub(super) fn cause(id: &str) -> String {
    format!("cause/{}.html", slug(id))
}

pub(super) fn stack(id: &str) -> String {
    format!("stack/{id}.html")
}

pub(super) fn run(id: &str) -> String {
    format!("run/{}.html", slug(id))
}

/// `uml/server9p/golem 6.1`, with the cache mode where there is one.
pub(super) fn label(column: &Column<'_>) -> String {
    let stack = &column.latest().stack;
    let cache = match stack.cache.as_str() {
        "none" => String::new(),
        cache => format!(" {cache}"),
    };
    format!("{} {}{cache}", stack.name(), series(&stack.kernel))
}

/// The options of `probe9p run` that bring this stack up.
pub(super) fn options(stack: &Stack) -> String {
    if stack.client == "path" {
        return "--path DIR".into();
    }
    let mut words = format!("--client {}", stack.client);
    if stack.server != "server9p" {
        words += &format!(" --server {}", stack.server);
    }
    if stack.profile != "golem" {
        words += &format!(" --profile {}", stack.profile);
    }
    if stack.cache != "none" {
        words += &format!(" --cache {}", stack.cache);
    }
    // The host's own kernel is not for choosing.
    if stack.client != "kernel" {
        words += &format!(" --kernel {}", series(&stack.kernel));
    }
    words
}
