//! What outside parties are not told, and whether anybody can shape it.

use std::collections::BTreeMap;

use super::database::ago;
use super::finding::{Area, Finding};
use crate::config::Config;
use crate::store::survey::{Books, Endpoint, Shaper};

const HERE: Area = Area::Postgres;
/// Counts stop above it.
const COUNTED_MAX: i64 = 1_000;
/// Shorter outages are what the schedule is for; `avouch status` tells of them from there on too.
const FAILING_S_MIN: f64 = 300.0;

/// What follows from the tables.
pub fn judge(config: &Config, books: &Books) -> Vec<Finding> {
    let keep_hours = config.notify.keep_hours;
    books.endpoints.iter().flat_map(|e| [disabled(e, keep_hours), failing(e), given_up(e)]).flatten().collect()
}

/// Plugins that endpoints of this database name: those of the file, and those that were made over the API.
pub fn shapers(config: &Config, source: &str, books: &Books) -> Vec<Shaper> {
    if !config.notifies(source) {
        return Vec::new();
    }
    let of_file = config.endpoint.iter().filter_map(|(name, e)| {
        let plugin = e.plugin.clone()?;
        Some(Shaper { plugin, endpoints: 1, endpoint: name.clone() })
    });
    let mut all: BTreeMap<String, Shaper> = BTreeMap::new();
    for shaper in of_file.chain(books.shapers.iter().cloned()) {
        let others = all.get(&shaper.plugin).map_or(0, |s| s.endpoints);
        all.entry(shaper.plugin.clone()).or_insert(shaper.clone()).endpoints = others + shaper.endpoints;
    }
    all.into_values().collect()
}

fn disabled(e: &Endpoint, keep_hours: u32) -> Option<Finding> {
    let why = e.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let meaning = format!("it is disabled{why}; what comes for it waits, and is given up after {keep_hours} h");
    let remedy = format!("avouch endpoint enable {0} once it is there again, or avouch endpoint remove {0}", e.name);
    (!e.is_enabled).then(|| HERE.warning("endpoint_disabled", &object(e), &meaning, &remedy))
}

fn failing(e: &Endpoint) -> Option<Finding> {
    let since = e.failing_s.filter(|s| e.is_enabled && *s > FAILING_S_MIN)?;
    let meaning = format!("no try has succeeded for {}", ago(since));
    let remedy = format!("avouch endpoint ping {} shows what it answers: see to it with whoever runs it", e.name);
    Some(HERE.warning("endpoint_failing", &object(e), &meaning, &remedy))
}

fn given_up(e: &Endpoint) -> Option<Finding> {
    let count = if e.given_up > COUNTED_MAX { format!("more than {COUNTED_MAX}") } else { e.given_up.to_string() };
    let meaning = format!("{count} messages of the last week were given up: nobody tells them any more");
    let remedy = format!(
        "avouch endpoint deliveries {0} shows why; once it answers: avouch endpoint resend {0} --since 7d --dry-run",
        e.name
    );
    (e.given_up > 0).then(|| HERE.warning("given_up", &object(e), &meaning, &remedy))
}

fn object(e: &Endpoint) -> String {
    format!("endpoint {}", e.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(change: impl FnOnce(&mut Endpoint)) -> Vec<Finding> {
        let mut endpoint =
            Endpoint { name: "merchant".into(), is_enabled: true, reason: None, failing_s: None, given_up: 0 };
        change(&mut endpoint);
        judge(&Config::default(), &Books { endpoints: vec![endpoint], ..Books::default() })
    }

    #[test]
    fn each_trouble_of_an_endpoint_is_told_alone_with_its_remedy() {
        let told = |change: fn(&mut Endpoint), check: &str, remedy: &str| {
            let findings = found(change);
            let [finding] = &findings[..] else { panic!("one {check} was expected: {findings:?}") };
            assert_eq!(finding.check, check);
            assert!(finding.remedy.as_ref().is_some_and(|r| r.contains(remedy)), "{finding:?}");
        };
        assert_eq!(found(|_| {}), []);
        assert_eq!(found(|e| e.failing_s = Some(200.0)), [], "it may be over by itself");
        told(|e| e.is_enabled = false, "endpoint_disabled", "avouch endpoint enable merchant");
        told(|e| (e.is_enabled, e.failing_s) = (false, Some(400.0)), "endpoint_disabled", "endpoint remove merchant");
        told(|e| e.failing_s = Some(400.0), "endpoint_failing", "avouch endpoint ping merchant");
        told(|e| e.given_up = 1, "given_up", "avouch endpoint resend merchant --since 7d");
    }

    #[test]
    fn disabled_endpoint_is_told_with_the_reason() {
        let findings = found(|e| (e.is_enabled, e.reason) = (false, Some("it answered 410".into())));
        assert!(findings[0].meaning.contains("it answered 410"), "{findings:?}");
    }

    #[test]
    fn plugins_of_the_file_and_of_the_api_are_counted_together() {
        let file = "[source.main]\nurl = \"x\"\n[notify]\ntopics = [\"a\"]\n[endpoint.m]\nurl = \"https://m.example\"\n\
                    topics = [\"a\"]\nsecrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\nplugin = \"form\"\n";
        let config = Config::parse(file).expect("is valid");
        let of_api = Shaper { plugin: "form".into(), endpoints: 2, endpoint: "a".into() };
        let books = Books { shapers: vec![of_api], ..Books::default() };
        let all = shapers(&config, "main", &books);
        assert_eq!((all.len(), all[0].endpoints, &*all[0].endpoint), (1, 3, "m"));
        assert!(shapers(&Config::default(), "main", &books).is_empty(), "nobody is told by this file");
    }
}
