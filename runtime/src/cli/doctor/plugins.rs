//! Whether whoever is to judge is deployed, may use what it needs, and can do nothing else.

use std::collections::BTreeSet;

use super::finding::{Area, Finding};
use crate::config::Config;
use crate::rules::manifest::{Grant, Kind};
use crate::store::survey::{Answer, BindingRole, Checker, Shaper};

const HERE: Area = Area::Plugins;

/// What answers to a plugin's name.
#[derive(Clone, Debug, Default)]
pub struct Deployed {
    pub name: String,
    /// The bindings that its manifest asks for.
    pub requests: BTreeSet<Grant>,
    /// Those that it was granted.
    pub granted: BTreeSet<Grant>,
    pub loads: Loads,
}

/// Whether its file can be used here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Loads {
    /// It compiles and links, and has these rules.
    Fine(BTreeSet<Rule>),
    /// Its statements cannot be run where they are to.
    StatementsRefused(String),
    /// It cannot be used, and why.
    Refused(String),
    /// It was not tried: what it needs is missing.
    #[default]
    NotTried,
}

/// What a plugin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// What became of a transaction.
    CheckBack,
    /// Whether work is repeated.
    Idempotency,
    /// How an outside party is told.
    Notification,
}

/// The role of one `[binding.sql.NAME]`.
pub struct Binding {
    pub name: String,
    pub role: Answer<BindingRole>,
}

/// What was asked about plugins, in one database.
#[derive(Default)]
pub struct Facts {
    pub deployed: Vec<Deployed>,
    /// Checkers that undecided transactions name.
    pub checkers: Vec<Checker>,
    /// Plugins that endpoints name, of the file and of the API.
    pub shapers: Vec<Shaper>,
}

/// All that follows for one database.
pub fn judge(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts.deployed.iter().flat_map(|d| deployed(config, d)).collect();
    let find = |name: &str| facts.deployed.iter().find(|d| d.name == name);
    for checker in &facts.checkers {
        let object = format!("checker {}", checker.name);
        let meaning = format!("{} undecided transactions name it, and", checker.transactions);
        findings.extend(unfit(find(&checker.name), Rule::CheckBack).map(|what| {
            HERE.problem(
                "missing_checker",
                &object,
                &format!("{meaning} {what}: nobody decides them"),
                &deploy(&checker.name),
            )
        }));
    }
    let waiting: BTreeSet<&str> = facts.checkers.iter().map(|c| c.name.as_str()).collect();
    for name in config.checker.keys().filter(|name| !waiting.contains(name.as_str())) {
        let meaning = |what| format!("[checker.{name}] is configured, and {what}");
        findings
            .extend(unfit(find(name), Rule::CheckBack).map(|what| {
                HERE.warning("missing_checker", &format!("checker {name}"), &meaning(what), &deploy(name))
            }));
    }
    for (consumer, plugin) in config.consumer.iter().filter_map(|(c, s)| Some((c, s.plugin.as_ref()?))) {
        findings.extend(unfit(find(plugin), Rule::Idempotency).map(|what| {
            let meaning =
                format!("it says that plugin {plugin} tells its messages apart, and {what}: none is processed");
            HERE.problem("missing_plugin", &format!("consumer {consumer}"), &meaning, &deploy(plugin))
        }));
    }
    findings.extend(facts.shapers.iter().filter_map(|s| shaper(s, find(&s.plugin))));
    if findings.is_empty() {
        findings.push(HERE.fine("plugins", "plugins", "none is deployed, and none is asked for"));
    }
    findings
}

fn deploy(name: &str) -> String {
    format!("avouch plugin deploy FILE with the plugin {name}, or avouch plugin rollback {name}")
}

/// An endpoint that nobody can tell. Each is told once, however many name the plugin.
fn shaper(shaper: &Shaper, deployed: Option<&Deployed>) -> Option<Finding> {
    let Shaper { plugin, endpoints, endpoint } = shaper;
    let what = unfit(deployed, Rule::Notification)?;
    let others = if *endpoints > 1 { format!(" and {} more", endpoints - 1) } else { String::new() };
    let meaning = format!("plugin {plugin} is to shape what is told there, and {what}: it waits");
    Some(HERE.problem("missing_plugin", &format!("endpoint {endpoint}{others}"), &meaning, &deploy(plugin)))
}

/// Why it cannot answer, if so.
fn unfit(deployed: Option<&Deployed>, asked: Rule) -> Option<&'static str> {
    match deployed.map(|d| &d.loads) {
        None => Some("no plugin of that name is deployed"),
        Some(Loads::Fine(rules)) if !rules.contains(&asked) => Some(match asked {
            Rule::CheckBack => "the plugin of that name answers for no transaction",
            Rule::Idempotency => "the plugin of that name recognises no repeated work",
            Rule::Notification => "the plugin of that name has no rule notification",
        }),
        // What keeps it from working is told about the plugin itself.
        Some(_) => None,
    }
}

fn deployed(config: &Config, d: &Deployed) -> Vec<Finding> {
    let object = format!("plugin {}", d.name);
    let mut findings = Vec::new();
    let list = |grants: Vec<&Grant>| grants.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let lacking: Vec<&Grant> = d.requests.difference(&d.granted).collect();
    if !lacking.is_empty() {
        let flags = lacking.iter().map(|g| format!("--grant {g}")).collect::<Vec<_>>().join(" ");
        let meaning = format!("it requests {} and is not granted it: no runtime uses it", list(lacking));
        findings.push(HERE.problem(
            "not_granted",
            &object,
            &meaning,
            &format!("if it may: avouch plugin deploy FILE {flags}"),
        ));
    }
    for grant in d.granted.iter().filter(|g| !is_configured(config, g)) {
        let section = format!("[binding.{}]", grant.to_string().replace(':', "."));
        let is_needed = d.requests.contains(grant);
        let meaning = format!("it is granted {grant}, and this configuration has no {section}");
        findings.push(if is_needed {
            HERE.problem(
                "unknown_binding",
                &object,
                &format!("{meaning}: a runtime with it does not use the plugin"),
                &format!("add {section} to the file of each runtime"),
            )
        } else {
            HERE.note(
                "unknown_binding",
                &object,
                &format!("{meaning}; it does not ask for it"),
                "deploy it without that grant",
            )
        });
    }
    let spare: Vec<&Grant> = d.granted.difference(&d.requests).filter(|g| is_configured(config, g)).collect();
    if !spare.is_empty() {
        let meaning = format!("it is granted {}, which it does not ask for", list(spare));
        findings.push(HERE.note("spare_grant", &object, &meaning, "deploy it without, before a version asks for it"));
    }
    match &d.loads {
        Loads::Refused(why) => {
            findings.push(HERE.problem(
                "plugin",
                &object,
                why,
                "deploy a version that can be used, or avouch plugin rollback",
            ));
        }
        Loads::StatementsRefused(why) => {
            let remedy = "see to the binding's database and role; or correct the statement and deploy it again";
            findings.push(HERE.problem("statements", &object, why, remedy));
        }
        Loads::Fine(_) if findings.is_empty() => {
            findings.push(HERE.fine("plugin", &object, "it compiles, links, and may use what it asks for"))
        }
        Loads::Fine(_) | Loads::NotTried => {}
    }
    findings
}

/// Whether this configuration has the binding.
pub fn is_configured(config: &Config, grant: &Grant) -> bool {
    let bindings = &config.binding;
    match grant.kind {
        Kind::Sql => bindings.sql.contains_key(&grant.binding),
        Kind::Http => bindings.http.contains_key(&grant.binding),
        Kind::Nats => bindings.nats.contains_key(&grant.binding),
    }
}

/// What the role of a plugin's statements could do beside reading.
pub fn binding(b: &Binding) -> Finding {
    let whole = format!("binding sql:{}", b.name);
    let role = match &b.role {
        Ok(role) => role,
        Err(why) => {
            let meaning = format!("could not be asked: {}", why.why);
            let remedy = format!("see to binding.sql.{}.url: plugins that ask there get no answer", b.name);
            return HERE.problem("binding", &whole, &meaning, &remedy);
        }
    };
    let object = format!("{whole}, role {}", role.user);
    let remedy = format!(
        "give the binding a role of its own: create role {}_check login; grant select on what the statements need",
        b.name
    );
    if role.is_superuser {
        return HERE.problem("binding_role", &object, "it is a superuser: the runtime refuses to ask as it", &remedy);
    }
    if !role.avouch_roles.is_empty() {
        let meaning = format!("it is in {}: the runtime refuses to ask as it", role.avouch_roles.join(", "));
        return HERE.problem("binding_role", &object, &meaning, &remedy);
    }
    if !role.writes.is_empty() {
        let meaning = format!(
            "it may write to {}: only the READ ONLY transaction keeps statements from it",
            role.writes.join(", ")
        );
        return HERE.warning("binding_role", &object, &meaning, &remedy);
    }
    HERE.fine("binding_role", &object, "it can only read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Severity;
    use crate::store::survey::Unanswered;

    fn grants(all: &[&str]) -> BTreeSet<Grant> {
        all.iter().map(|g| g.parse().expect("is valid")).collect()
    }

    fn plugin(requests: &[&str], granted: &[&str]) -> Deployed {
        let loads = Loads::Fine(BTreeSet::from([Rule::CheckBack]));
        Deployed { name: "pay".into(), requests: grants(requests), granted: grants(granted), loads }
    }

    fn found(file: &str, deployed: Option<Deployed>, checkers: &[&str]) -> Vec<(&'static str, Severity)> {
        let config = Config::parse(file).expect("is valid");
        let checkers = checkers.iter().map(|&name| Checker { name: name.into(), transactions: 3 }).collect();
        let facts = Facts { deployed: deployed.into_iter().collect(), checkers, shapers: Vec::new() };
        let findings = judge(&config, &facts);
        findings.into_iter().filter(|f| f.severity != Severity::Ok).map(|f| (f.check, f.severity)).collect()
    }

    const ORDERS: &str = "[binding.sql.orders]\nurl = \"x\"";

    #[test]
    fn grants_are_compared_with_what_is_asked_for_and_configured() {
        use Severity::{Note, Problem};
        let of = |file: &str, requests: &[&str], granted: &[&str]| found(file, Some(plugin(requests, granted)), &[]);
        assert_eq!(of(ORDERS, &["sql:orders"], &["sql:orders"]), []);
        assert_eq!(of(ORDERS, &["sql:orders"], &[]), [("not_granted", Problem)]);
        assert_eq!(of("", &["sql:orders"], &["sql:orders"]), [("unknown_binding", Problem)]);
        assert_eq!(of("", &[], &["http:pay"]), [("unknown_binding", Note)]);
        assert_eq!(of(ORDERS, &[], &["sql:orders"]), [("spare_grant", Note)]);
    }

    #[test]
    fn whoever_is_asked_must_answer() {
        use Severity::{Problem, Warning};
        let fine = || Some(plugin(&[], &[]));
        assert_eq!(found("", fine(), &["pay"]), []);
        assert_eq!(found("", None, &["pay"]), [("missing_checker", Problem)]);
        assert_eq!(found("[checker.pay]", None, &[]), [("missing_checker", Warning)]);
        assert_eq!(found("[checker.pay]", None, &["pay"]), [("missing_checker", Problem)]);
        assert_eq!(found("[checker.pay]", fine(), &[]), []);
        let consumer = "[consumer.c]\nplugin = \"pay\"";
        assert_eq!(found(consumer, None, &[]), [("missing_plugin", Problem)]);
        assert_eq!(found(consumer, fine(), &[]), [("missing_plugin", Problem)], "it is a checker alone");
        let broken = Deployed { loads: Loads::Refused("it was altered".into()), ..plugin(&[], &[]) };
        assert_eq!(found("", Some(broken), &["pay"]), [("plugin", Problem)]);
    }

    #[test]
    fn endpoints_need_a_plugin_that_has_the_rule() {
        let told = |deployed: Option<Deployed>, endpoints| {
            let shapers = vec![Shaper { plugin: "form".into(), endpoints, endpoint: "merchant".into() }];
            let facts = Facts { deployed: deployed.into_iter().collect(), checkers: Vec::new(), shapers };
            let findings = judge(&Config::default(), &facts).into_iter().filter(|f| f.severity != Severity::Ok);
            findings.map(|f| (f.check, f.severity, f.object)).collect::<Vec<_>>()
        };
        let with = |rule| {
            Some(Deployed { name: "form".into(), loads: Loads::Fine(BTreeSet::from([rule])), ..plugin(&[], &[]) })
        };
        let missing = |object: &str| vec![("missing_plugin", Severity::Problem, object.to_owned())];
        assert_eq!(told(with(Rule::Notification), 1), []);
        assert_eq!(told(None, 1), missing("endpoint merchant"));
        assert_eq!(told(with(Rule::CheckBack), 3), missing("endpoint merchant and 2 more"));
    }

    #[test]
    fn role_of_statements_is_to_read_and_nothing_else() {
        let role = BindingRole { user: "r".into(), is_superuser: false, avouch_roles: Vec::new(), writes: Vec::new() };
        let of = |role: Answer<BindingRole>| binding(&Binding { name: "orders".into(), role }).severity;
        assert_eq!(of(Ok(role.clone())), Severity::Ok);
        assert_eq!(of(Ok(BindingRole { is_superuser: true, ..role.clone() })), Severity::Problem);
        assert_eq!(
            of(Ok(BindingRole { avouch_roles: vec!["avouch_viewer".into()], ..role.clone() })),
            Severity::Problem
        );
        assert_eq!(of(Ok(BindingRole { writes: vec!["t".into()], ..role })), Severity::Warning);
        assert_eq!(of(Err(Unanswered { why: "x".into(), is_denied: false })), Severity::Problem);
    }
}
