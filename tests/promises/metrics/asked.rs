//! Alert rules and the dashboard: they can be read, and ask only for what is exported.

use std::collections::BTreeSet;
use std::convert::Infallible;

use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;

use super::documented;
use crate::docs::read;

/// Labels that Prometheus adds.
const ADDED: &[&str] = &["job", "instance"];
/// Prometheus puts a length in the place of Grafana's.
const INTERVAL: &str = "$__rate_interval";

/// What a query names.
#[derive(Debug, Default)]
struct Names {
    metrics: BTreeSet<String>,
    /// Labels of selectors.
    matched: Vec<(String, String)>,
    /// Labels by which something is grouped.
    grouped: BTreeSet<String>,
}

impl Names {
    fn of(query: &str) -> Names {
        let text = query.replace(INTERVAL, "5m");
        let expr = parser::parse(&text).unwrap_or_else(|e| panic!("{query}: {e}"));
        let mut names = Names::default();
        let walked = walk_expr(&mut names, &expr);
        assert_eq!(walked, Ok(true), "{query} is read to its end");
        names
    }

    fn selects(&mut self, selector: &VectorSelector) {
        let name = selector.name.clone().expect("a selector names its metric");
        for matcher in &selector.matchers.matchers {
            self.matched.push((name.clone(), matcher.name.clone()));
        }
        assert!(selector.matchers.or_matchers.is_empty(), "no rule needs them");
        self.metrics.insert(name);
    }
}

impl ExprVisitor for Names {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
        match expr {
            Expr::VectorSelector(selector) => self.selects(selector),
            Expr::MatrixSelector(matrix) => self.selects(&matrix.vs),
            Expr::Aggregate(aggregate) => {
                let labels = aggregate.modifier.iter().flat_map(|modifier| modifier.labels().labels.clone());
                self.grouped.extend(labels);
            }
            Expr::Binary(binary) => {
                let matching = binary.modifier.iter().filter_map(|modifier| modifier.matching.as_ref());
                self.grouped.extend(matching.flat_map(|matching| matching.labels().labels.clone()));
            }
            _ => {}
        }
        Ok(true)
    }
}

/// Everything that the query names is exported; returns the labels that its answer can have.
fn check(place: &str, query: &str) -> BTreeSet<String> {
    let (names, documented) = (Names::of(query), documented());
    let mut known: BTreeSet<String> = ADDED.iter().map(|label| (*label).to_owned()).collect();
    let labels_of = |series: &str| {
        let part = ["_bucket", "_sum", "_count"].into_iter().find(|part| {
            series.strip_suffix(part).and_then(|name| documented.get(name)).is_some_and(|m| m.sort == "histogram")
        });
        let name = part.and_then(|part| series.strip_suffix(part)).unwrap_or(series);
        let metric = documented.get(name).unwrap_or_else(|| panic!("{place} asks for {series}, which is not exported"));
        let is_whole = metric.sort == "histogram" && part.is_none();
        assert!(!is_whole, "{place} asks for {series}: a histogram has _bucket, _sum and _count");
        let mut labels = metric.labels.clone();
        labels.extend((part == Some("_bucket")).then(|| "le".to_owned()));
        labels
    };
    assert!(!names.metrics.is_empty(), "{place}: {query} asks for nothing");
    for metric in &names.metrics {
        known.extend(labels_of(metric));
    }
    for (metric, label) in &names.matched {
        let has = labels_of(metric).contains(label) || ADDED.contains(&label.as_str());
        assert!(has, "{place}: {metric} has no label {label}");
    }
    for label in &names.grouped {
        assert!(known.contains(label), "{place}: nothing in {query} has a label {label}");
    }
    if names.grouped.is_empty() { known } else { names.grouped }
}

/// `{{ $labels.topic }}` in rules, `{{topic}}` in legends.
fn check_template(place: &str, template: &str, labels: &BTreeSet<String>) {
    for inner in template.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
        let word = inner.split_whitespace().next().unwrap_or_default();
        let label = word.strip_prefix("$labels.").unwrap_or(word);
        assert!(label == "$value" || labels.contains(label), "{place}: {template:?}, and there is no {label}");
    }
}

#[test]
fn alert_rules_and_dashboard_ask_only_for_what_is_exported() {
    let rules = alert_rules();
    for rule in &rules {
        let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        let place = text("alert");
        let labels = check(&place, &text("expr"));
        for key in ["summary", "description", "runbook"] {
            let annotation = rule["annotations"][key].as_str().unwrap_or_default();
            assert!(!annotation.is_empty(), "{place} has no {key}");
            check_template(&place, annotation, &labels);
        }
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap_or_default()), "{place}");
    }
    let dashboard: Value = serde_json::from_str(&read("docs/grafana/avouch.json")).expect("the dashboard is JSON");
    let mut asked = 0;
    for panel in panels(&dashboard) {
        let place = format!("panel {}", panel["title"]);
        for target in panel["targets"].as_array().into_iter().flatten() {
            let labels = check(&place, target["expr"].as_str().expect("a target has a query"));
            check_template(&place, target["legendFormat"].as_str().unwrap_or_default(), &labels);
            asked += 1;
        }
    }
    assert!(asked > 40, "{asked} queries");
    for variable in dashboard["templating"]["list"].as_array().expect("there are variables") {
        let Some(query) = variable["query"]["query"].as_str() else { continue };
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (selector, label) = inner.and_then(|i| i.rsplit_once(", ")).unwrap_or_else(|| panic!("{query}"));
        assert!(check("a variable", selector).contains(label), "{query}");
    }
}

/// Whatever is worth an alert has one, and every part of the runtime has its row.
#[test]
fn alert_rules_and_dashboard_are_complete() {
    let names: BTreeSet<String> =
        alert_rules().iter().map(|rule| rule["alert"].as_str().unwrap_or_default().to_owned()).collect();
    for wanted in [
        "AvouchNoRuntime",
        "AvouchShardsWithoutOwner",
        "AvouchNothingPublished",
        "AvouchOldestTooOld",
        "AvouchDeadMessages",
        "AvouchInDoubt",
        "AvouchCheckerBroken",
        "AvouchLeaseLost",
        "AvouchSnapshotHeld",
        "AvouchBrokerLost",
        "AvouchNotifyGivenUp",
        "AvouchNotifyFailing",
        "AvouchNotifyOldestTooOld",
    ] {
        assert!(names.contains(wanted), "no alert {wanted}");
    }
    let dashboard: Value = serde_json::from_str(&read("docs/grafana/avouch.json")).expect("the dashboard is JSON");
    let asked: String = panels(&dashboard)
        .flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default())
        .filter_map(|target| target["expr"].as_str().map(str::to_owned))
        .collect();
    let unseen: Vec<String> = documented().into_keys().filter(|name| !asked.contains(name.as_str())).collect();
    assert!(unseen.is_empty(), "no panel shows {unseen:?}");
    let ids: Vec<i64> = panels(&dashboard).filter_map(|panel| panel["id"].as_i64()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "two panels of one id");
}

fn alert_rules() -> Vec<Value> {
    let file: Value = serde_yaml_ng::from_str(&read("docs/prometheus/alerts.yml")).expect("the rules are YAML");
    let groups = file["groups"].as_array().expect("rules come in groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("a group has rules").clone()).collect()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().expect("a dashboard has panels").iter()
}
