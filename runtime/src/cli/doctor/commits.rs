//! Whether a crash can take back what producers, and who asks over NATS, were told to be committed.

use std::collections::BTreeSet;

use super::database::HERE;
use super::finding::Finding;
use crate::store::survey::{Commits, CommitsOf, Server};

const CHECK: &str = "synchronous_commit";

/// Where a producer's value stands, the nearest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Of a role, in this database alone or in all.
    Role(String, bool),
    /// Of the database.
    Database,
    /// Of all roles.
    All,
    /// Of the server.
    Server,
}

/// What follows. `is_served`: producers and consumers that come over NATS are answered from this database.
pub fn judge(c: &Commits, server: Option<&Server>, is_served: bool) -> Vec<Finding> {
    let database = server.map_or("", |s| &s.database);
    let unsafe_places: BTreeSet<(Place, &str)> = if c.producers.is_empty() {
        effective(c, "").into_iter().collect()
    } else {
        c.producers.iter().filter_map(|producer| effective(c, producer)).collect()
    };
    let unsafe_places: Vec<_> = unsafe_places.into_iter().filter(|(_, value)| loses(value, c.has_standbys)).collect();
    let mut findings: Vec<Finding> =
        unsafe_places.iter().map(|(place, value)| producer(place, value, database)).collect();
    let is_told = |s: &Server| {
        unsafe_places.iter().any(|(place, _)| match place {
            Place::Role(role, _) => *role == s.user,
            Place::Database | Place::All | Place::Server => true,
        })
    };
    findings.extend(server.filter(|s| !is_told(s)).and_then(|s| {
        let value = s.settings.get(CHECK)?.as_deref().filter(|value| loses(value, c.has_standbys))?;
        let remedy = match effective(c, &s.user) {
            Some((place @ Place::Role(..), _)) => reset(&place, database),
            _ => format!("alter role {} set {CHECK} = on", s.user),
        };
        Some(runtime(&s.user, value, &remedy, is_served))
    }));
    findings
}

/// What this role is given, and where that stands; none: it cannot be told.
fn effective<'a>(c: &'a Commits, role: &str) -> Option<(Place, &'a str)> {
    let set = |of: Option<&str>, is_here: bool| {
        let is_it = |s: &&CommitsOf| s.role.as_deref() == of && s.is_here == is_here;
        c.set.iter().find(is_it).map(|s| s.value.as_str())
    };
    let of_role = |is_here| Some((Place::Role(role.to_owned(), is_here), set(Some(role), is_here)?));
    of_role(true)
        .or_else(|| of_role(false))
        .or_else(|| Some((Place::Database, set(None, true)?)))
        .or_else(|| Some((Place::All, set(None, false)?)))
        .or_else(|| Some((Place::Server, c.server.as_deref()?)))
}

/// Whether what was told to be committed can be gone after a crash, or after a standby took over that is waited for.
fn loses(value: &str, has_standbys: bool) -> bool {
    match value.to_ascii_lowercase().as_str() {
        "off" | "false" | "no" | "0" => true,
        "local" => has_standbys,
        _ => false,
    }
}

fn producer(place: &Place, value: &str, database: &str) -> Finding {
    let lost = if value == "local" { "the loss of this server" } else { "a crash" };
    let meaning = format!(
        "{CHECK} is {value} for producers: {lost} loses commits that they were told of, and their messages with them"
    );
    let object = match place {
        Place::Role(role, _) => format!("role {role}"),
        Place::Database => format!("database {database}"),
        Place::All => "all roles".to_owned(),
        Place::Server => CHECK.to_owned(),
    };
    HERE.warning(CHECK, &object, &meaning, &reset(place, database))
}

/// What to type.
fn reset(place: &Place, database: &str) -> String {
    match place {
        Place::Role(role, false) => format!("alter role {role} reset {CHECK}"),
        Place::Role(role, true) => format!("alter role {role} in database {database} reset {CHECK}"),
        Place::Database => format!("alter database {database} reset {CHECK}"),
        Place::All => format!("alter role all reset {CHECK}"),
        Place::Server => format!("alter system set {CHECK} = on, and reload"),
    }
}

/// The runtime's own: what it marks is done again, but not what it has answered.
fn runtime(user: &str, value: &str, remedy: &str, is_served: bool) -> Finding {
    let object = format!("role {user}");
    let remedy = format!("{remedy}: the runtime switches it off by itself where nothing depends on it");
    let meaning = format!("{CHECK} is {value} for the runtime, and not for producers that insert");
    if is_served {
        let meaning = format!(
            "{meaning}: a crash loses transactions that came over NATS and were answered, and what consumers that ask have done, \
             which is then done twice"
        );
        HERE.warning(CHECK, &object, &meaning, &remedy)
    } else {
        HERE.note(CHECK, &object, &format!("{meaning}: what it did last before a crash is done again"), &remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(role: Option<&str>, is_here: bool, value: &str) -> CommitsOf {
        CommitsOf { role: role.map(str::to_owned), is_here, value: value.into() }
    }

    fn told(server: &str, has_standbys: bool, set: Vec<CommitsOf>) -> Vec<(String, String)> {
        let producers = vec!["orders".to_owned(), "stock".to_owned()];
        let commits = Commits { server: Some(server.into()), has_standbys, producers, set };
        let findings = judge(&commits, None, true).into_iter();
        findings.map(|f| (f.object, f.remedy.expect("a warning has one"))).collect()
    }

    fn one(object: &str, remedy: &str) -> Vec<(String, String)> {
        vec![(object.to_owned(), remedy.to_owned())]
    }

    #[test]
    fn producer_whose_commits_can_be_lost_is_named_with_what_to_type() {
        let reset = one("role orders", "alter role orders reset synchronous_commit");
        assert_eq!(told("on", false, vec![]), []);
        assert_eq!(told("on", false, vec![set(Some("orders"), false, "off")]), reset);
        assert_eq!(told("on", false, vec![set(Some("orders"), false, "local")]), [], "there is no standby");
        assert_eq!(told("on", true, vec![set(Some("orders"), false, "local")]), reset);
        let here = one("role orders", "alter role orders in database  reset synchronous_commit");
        assert_eq!(told("on", false, vec![set(Some("orders"), true, "0")]), here);
    }

    #[test]
    fn what_is_set_nearest_counts() {
        let both = || vec![set(Some("orders"), true, "on"), set(Some("stock"), false, "on")];
        assert_eq!(told("off", false, both()), [], "each has its own");
        let server = one("synchronous_commit", "alter system set synchronous_commit = on, and reload");
        assert_eq!(told("off", false, vec![set(Some("orders"), true, "on")]), server);
        assert_eq!(told("on", false, vec![set(None, true, "off")])[0].0, "database ");
        assert_eq!(told("off", false, vec![set(None, true, "on")]), []);
        assert_eq!(told("on", false, vec![set(None, false, "off")])[0].0, "all roles");
        let nobody = Commits { server: Some("off".into()), ..Commits::default() };
        assert_eq!(judge(&nobody, None, true).len(), 1, "whoever produces");
    }

    #[test]
    fn runtime_alone_loses_what_it_has_answered() {
        use crate::cli::doctor::finding::Severity::{Note, Warning};
        assert_eq!(runtime("relay", "off", "x", true).severity, Warning);
        assert_eq!(runtime("relay", "off", "x", false).severity, Note);
    }
}
