//! Times as people write and read them: local with their offset in a terminal, RFC 3339 in UTC elsewhere.

use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// What `--since` and its like take: a time, or how long ago.
pub fn time_of(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(ago) = span_of(text) {
        return Ok(OffsetDateTime::now_utc() - ago);
    }
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|e| format!("{e}: write 2026-01-31T12:00:00Z, or how long ago: 90s, 15m, 2h, 7d"))
}

/// What `--timeout` and its like take.
pub fn span_of(text: &str) -> Result<Duration, String> {
    let remedy = || "write a number and a unit: 90s, 15m, 2h, 7d".to_owned();
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(remedy)?;
    let (number, unit) = text.split_at(at);
    let number: u32 = number.parse().map_err(|_| remedy())?;
    let unit_s = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(remedy()),
    };
    Ok(Duration::from_secs(u64::from(number) * unit_s))
}

/// A time for people.
pub fn shown(at: OffsetDateTime) -> String {
    if console::user_attended() { local(at) } else { utc(at) }
}

/// The same, where one may not be known.
pub fn maybe(at: Option<OffsetDateTime>) -> String {
    at.map_or_else(String::new, shown)
}

fn local(at: OffsetDateTime) -> String {
    let offset = UtcOffset::local_offset_at(at).unwrap_or(UtcOffset::UTC);
    let (hours, minutes, _) = offset.as_hms();
    let sign = if offset.is_negative() { '-' } else { '+' };
    format!("{} {sign}{:02}:{:02}", clock(at.to_offset(offset), ' '), hours.abs(), minutes.abs())
}

fn utc(at: OffsetDateTime) -> String {
    clock(at.to_offset(UtcOffset::UTC), 'T') + "Z"
}

fn clock(at: OffsetDateTime, between: char) -> String {
    let (hour, minute, second, ms) = at.time().as_hms_milli();
    format!("{}{between}{hour:02}:{minute:02}:{second:02}.{ms:03}", at.date())
}

/// How long something took or has been.
pub fn span(seconds: f64) -> String {
    match seconds {
        s if s < 0.0 => "0 s".to_owned(),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_time() -> OffsetDateTime {
        OffsetDateTime::parse("2026-01-31T23:30:05.0074+01:30", &Rfc3339).expect("is RFC 3339")
    }

    #[test]
    fn times_are_in_utc_for_programs_and_with_their_offset_for_people() {
        assert_eq!(utc(some_time()), "2026-01-31T22:00:05.007Z");
        let local = local(some_time());
        let (_, offset) = local.rsplit_once(' ').expect("it has an offset");
        assert!(offset.len() == 6 && offset.starts_with(['+', '-']), "{local}");
        let text = local.replacen(' ', "T", 1).replace(' ', "");
        let again = OffsetDateTime::parse(&text, &Rfc3339).expect("is RFC 3339 with blanks");
        assert_eq!(again.unix_timestamp(), some_time().unix_timestamp());
    }

    #[test]
    fn spans_are_numbers_with_units_and_anything_else_is_refused_with_the_remedy() {
        assert_eq!(span_of("15m"), Ok(Duration::from_secs(900)));
        for wrong in ["", "15", "m", "1w", "-1s", "99999999999s"] {
            assert!(span_of(wrong).expect_err("must be refused").contains("15m"), "{wrong}");
        }
        assert!(time_of("yesterday").expect_err("must be refused").contains("2026-01-31T12:00:00Z"));
        assert!(time_of("2h").is_ok_and(|at| at < OffsetDateTime::now_utc()));
    }
}
