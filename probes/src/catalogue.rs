//! Every case that there is, and the names under which several are selected at once.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    case::PlannedCase,
    ops,
    tools::{self, parse::RecipeError},
};

/// Every case, and every name that means more than one.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// The cases, in the order in which they are listed and run.
    pub cases: Vec<PlannedCase>,
    /// Ids of tool cases by the names of recipes, and `all`: they mean the variants that this machine has.
    pub groups: BTreeMap<String, Vec<String>>,
}

impl Catalogue {
    /// The cases that come with probe9p, and those of the recipes in `files`.
    ///
    /// # Errors
    /// When a recipe does not parse.
    pub fn with_recipes(files: &[PathBuf]) -> Result<Self, RecipeError> {
        let mut catalogue = Catalogue {
            cases: ops::planned(),
            ..Catalogue::default()
        };
        let named = |names: &[String]| {
            let cases = tools::planned(names)?.unwrap_or_default();
            Ok::<_, RecipeError>(cases)
        };
        for (recipe, variants) in tools::variants()? {
            // A variant may be called as its recipe, whose name means every variant.
            for variant in variants {
                catalogue.add(named(&[variant.to_owned()])?);
            }
            let of_recipe = ids(&named(&[recipe.to_owned()])?);
            catalogue.groups.insert(recipe.to_owned(), of_recipe);
        }
        let all = ids(&named(&["all".to_owned()])?);
        catalogue.groups.insert("all".into(), all);
        for file in files {
            catalogue.replace(tools::planned_from_file(file)?);
        }
        Ok(catalogue)
    }

    /// Adds the cases of a user's own recipe, in the place of those of the same id: he may be mending a built-in one.
    fn replace(&mut self, cases: Vec<PlannedCase>) {
        for case in cases {
            match self.cases.iter_mut().find(|known| known.id == case.id) {
                Some(known) => *known = case,
                None => self.cases.push(case),
            }
        }
    }

    /// Adds the cases that are not there yet.
    fn add(&mut self, cases: Vec<PlannedCase>) {
        for case in cases {
            if self.cases.iter().all(|known| known.id != case.id) {
                self.cases.push(case);
            }
        }
    }
}

fn ids(cases: &[PlannedCase]) -> Vec<String> {
    cases.iter().map(|case| case.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_is_there_once() {
        let catalogue = Catalogue::with_recipes(&[]).unwrap();
        let ids: BTreeSet<_> = catalogue.cases.iter().map(|case| &case.id).collect();
        assert_eq!(ids.len(), catalogue.cases.len());
        for (name, members) in &catalogue.groups {
            assert!(members.iter().all(|id| ids.contains(id)), "{name}");
        }
    }
}
