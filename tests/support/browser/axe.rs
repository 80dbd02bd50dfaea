//! What keeps people from using a page: the rules of axe-core, as far as what they find is serious.

use serde_json::{Value, json};

use super::cdp::text;
use super::page::Page;
use crate::scratch;

/// Of the levels of WCAG that are asked of a page, and what goes without saying.
const TAGS: [&str; 6] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

impl Page {
    /// Serious and critical violations of the accessibility rules, each with its elements and the remedy; empty is good.
    pub async fn axe(&self) -> Vec<String> {
        let found = self.run_axe().await.unwrap_or_else(|why| panic!("axe cannot look at the page: {why}"));
        let violations = found["violations"].as_array().into_iter().flatten();
        violations.filter(|found| matches!(text(&found["impact"]), "serious" | "critical")).map(describe).collect()
    }

    /// Fails with what axe found, if it found something.
    pub async fn assert_accessible(&self) {
        let found = self.axe().await;
        assert!(found.is_empty(), "{} is not accessible to all:\n{}", self.url().await, found.join("\n"));
    }

    /// In a world of its own: the page sees nothing of it, and its own scripts change nothing about it.
    async fn run_axe(&self) -> Result<Value, String> {
        let file = scratch::target_dir().join("tools/axe-core/axe.min.js");
        let axe = std::fs::read_to_string(&file);
        let axe = axe.map_err(|error| format!("no {} ({error}): run `.ci/setup test`", file.display()))?;
        self.settle().await;
        let tree = self.call("Page.getFrameTree", json!({})).await?;
        let world = json!({"frameId": tree["frameTree"]["frame"]["id"], "worldName": "axe"});
        let world = self.call("Page.createIsolatedWorld", world).await?["executionContextId"].take();
        self.evaluate_in(&world, &format!("{axe};true")).await?;
        let options = json!({"runOnly": TAGS, "resultTypes": ["violations"]});
        let run = format!("axe.run(document, {options}).then(found => ({{violations: found.violations}}))");
        self.evaluate_in(&world, &run).await
    }
}

fn describe(violation: &Value) -> String {
    let name = format!("{} ({})", text(&violation["id"]), text(&violation["impact"]));
    let mut said = format!("{name}: {}; see {}", text(&violation["help"]), text(&violation["helpUrl"]));
    for node in violation["nodes"].as_array().into_iter().flatten() {
        let remedy = text(&node["failureSummary"]).replace('\n', " ");
        said.push_str(&format!("\n  {}: {}\n    {remedy}", node["target"], text(&node["html"])));
    }
    said
}
