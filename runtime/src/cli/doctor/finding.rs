//! What a check found: how bad it is, what it means, what to do; and how that is told to people and to programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::tell::escape;
use crate::store::survey::Unanswered;

/// What was looked at.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// The databases.
    Postgres,
    /// The broker.
    Nats,
    /// Plugins, and what they were granted.
    Plugins,
    /// The file.
    Configuration,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A promise is broken, or will be.
    Problem,
    /// It works, and may not for long, or not as well as it could.
    Warning,
    /// Worth knowing.
    Note,
    /// As it should be.
    Ok,
}

/// What one check found about one object.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// Where.
    pub area: Area,
    /// The check's name, which stays.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// About what.
    pub object: String,
    /// What that means.
    pub meaning: String,
    /// What to do; none if it is as it should be.
    pub remedy: Option<String>,
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Report(pub Vec<Finding>);

impl Area {
    /// A promise is broken, or will be.
    pub fn problem(self, check: &'static str, object: &str, meaning: &str, remedy: &str) -> Finding {
        self.finding(Severity::Problem, check, (object, meaning), Some(remedy))
    }

    /// It may not work for long.
    pub fn warning(self, check: &'static str, object: &str, meaning: &str, remedy: &str) -> Finding {
        self.finding(Severity::Warning, check, (object, meaning), Some(remedy))
    }

    /// Worth knowing.
    pub fn note(self, check: &'static str, object: &str, meaning: &str, remedy: &str) -> Finding {
        self.finding(Severity::Note, check, (object, meaning), Some(remedy))
    }

    /// As it should be.
    pub fn fine(self, check: &'static str, object: &str, meaning: &str) -> Finding {
        self.finding(Severity::Ok, check, (object, meaning), None)
    }

    /// A check that could not be made.
    pub fn unknown(self, check: &'static str, object: &str, why: &Unanswered) -> Finding {
        let meaning = format!("could not be looked at: {}", why.why);
        let remedy = if why.is_denied {
            "grant avouch_runtime, or avouch_viewer, to the role that avouch doctor connects as"
        } else {
            "see to what the server says, and run avouch doctor again"
        };
        self.warning(check, object, &meaning, remedy)
    }

    fn finding(
        self,
        severity: Severity,
        check: &'static str,
        (object, meaning): (&str, &str),
        remedy: Option<&str>,
    ) -> Finding {
        let (object, meaning, remedy) = (object.to_owned(), meaning.to_owned(), remedy.map(str::to_owned));
        Finding { area: self, check, severity, object, meaning, remedy }
    }
}

impl Finding {
    /// The same, of this part of the installation.
    pub fn within(mut self, whole: &str) -> Self {
        self.object = if self.object.is_empty() { whole.to_owned() } else { format!("{whole}, {}", self.object) };
        self
    }
}

impl Report {
    /// How many are so bad.
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|f| f.severity == severity).count()
    }

    /// Whether everything is in order; warnings count if they are to.
    pub fn is_healthy(&self, severity_max: Severity) -> bool {
        self.0.iter().all(|f| f.severity > severity_max)
    }

    /// By area, the worst first.
    pub fn sorted(mut self) -> Self {
        self.0.sort_by_key(|f| (f.area, f.severity));
        self
    }

    /// For programs: the names stay.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "problems": self.count(Severity::Problem),
            "warnings": self.count(Severity::Warning),
            "notes": self.count(Severity::Note),
            "ok": self.count(Severity::Ok),
            "findings": self.0,
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut area = None;
        for finding in &self.0 {
            if area.replace(finding.area) != Some(finding.area) {
                text += &format!("{}{}\n", if text.is_empty() { "" } else { "\n" }, title(finding.area));
            }
            text += &lines(finding);
        }
        let of = |severity, one: &str| match self.count(severity) {
            1 => format!("1 {one}"),
            n => format!("{n} {one}s"),
        };
        let (problems, warnings) = (of(Severity::Problem, "problem"), of(Severity::Warning, "warning"));
        let notes = of(Severity::Note, "note");
        let ok = self.count(Severity::Ok);
        writeln!(text, "\n{problems}, {warnings}, {notes}; {ok} in order").expect("a string can be written to");
        text
    }
}

fn title(area: Area) -> &'static str {
    match area {
        Area::Postgres => "Postgres",
        Area::Nats => "NATS",
        Area::Plugins => "Plugins",
        Area::Configuration => "Configuration",
    }
}

fn lines(finding: &Finding) -> String {
    let word = match finding.severity {
        Severity::Problem => "PROBLEM",
        Severity::Warning => "warning",
        Severity::Note => "note",
        Severity::Ok => "ok",
    };
    let (object, meaning) = (escape(&finding.object), escape(&finding.meaning));
    let Some(remedy) = &finding.remedy else {
        return format!("  {word:<8} {object}: {meaning}\n");
    };
    format!("  {word:<8} {object} [{}]\n           {meaning}\n           -> {}\n", finding.check, escape(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let fine = Area::Nats.fine("server", "nats", "2.11");
        let warning = Area::Nats.warning("replicas", "stream A", "one copy", "make three");
        let problem = Area::Postgres.problem("fsync", "", "off", "switch it on").within("source main");
        Report(vec![fine, warning, problem]).sorted()
    }

    #[test]
    fn the_worst_comes_first_in_its_area() {
        let checks: Vec<_> = report().0.iter().map(|f| f.check).collect();
        assert_eq!(checks, ["fsync", "replicas", "server"]);
        assert_eq!(report().0[0].object, "source main");
    }

    #[test]
    fn warnings_count_only_where_they_are_to() {
        let mut report = report();
        assert!(!report.is_healthy(Severity::Problem));
        report.0.retain(|f| f.severity != Severity::Problem);
        assert!(report.is_healthy(Severity::Problem) && !report.is_healthy(Severity::Warning));
    }

    #[test]
    fn names_for_programs_stay() {
        let json = report().json();
        assert_eq!((&json["problems"], &json["warnings"]), (&1.into(), &1.into()));
        let finding = &json["findings"][0];
        for (key, value) in [("area", "postgres"), ("check", "fsync"), ("severity", "problem")] {
            assert_eq!(finding[key], value);
        }
        assert!(finding["object"].is_string() && finding["meaning"].is_string() && finding["remedy"].is_string());
    }

    #[test]
    fn hostile_names_do_not_reach_the_terminal() {
        let text = Report(vec![Area::Nats.note("x", "\u{1b}[2J", "\r", "\u{7}")]).text();
        assert!(!text.contains(['\u{1b}', '\r', '\u{7}']), "{text:?}");
    }
}
