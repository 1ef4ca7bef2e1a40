//! Runs axe-core, the most used WCAG checker, on a page.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::driver::Page;

/// `npm ci` in `tests/browser` installs it here.
const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/node_modules/axe-core/axe.min.js");

/// Runs all rules of WCAG 2.2, level AA, and the best practices; returns the findings of each violated rule.
const RUN: &str = "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => \
    [id, nodes.map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`).slice(0, 3)]))";

/// Whether the checker is installed. If not, the test is skipped by name, or fails where `$CI` promises it.
pub fn has_axe(test: &str) -> bool {
    if Path::new(AXE).is_file() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "axe-core is missing: run bin/setup --test");
    println!("skipped {test}: axe-core is missing, bin/setup --test installs it");
    false
}

impl Page<'_> {
    /// Asserts that the page has no violations now.
    #[track_caller]
    pub fn is_accessible(&self, state: &str) {
        static SCRIPT: OnceLock<String> = OnceLock::new();
        let script = SCRIPT.get_or_init(|| std::fs::read_to_string(AXE).unwrap());
        if self.value("typeof axe") == json!("undefined") {
            self.value(&format!("{script}; 0"));
        }
        assert_eq!(self.value(RUN), json!([]) as Value, "{state}");
    }
}
