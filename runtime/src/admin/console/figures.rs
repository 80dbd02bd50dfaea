//! How numbers, sizes, times and ages are written.

use maud::{Markup, html};
use time::OffsetDateTime;

use super::visit::Visit;
use super::words::Words;

/// Counts stop here: one more means "more".
const COUNTED_TO: i64 = 10_000;

/// A number with its thousands apart: `12,345`.
pub fn number(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut out = String::from(if n < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count that may have stopped: `> 10,000`.
pub fn count(n: i64) -> String {
    if n > COUNTED_TO { format!("> {}", number(COUNTED_TO)) } else { number(n) }
}

/// So many a second, with as many digits as one can read.
pub fn rate(per_s: f64) -> String {
    match per_s {
        r if !r.is_finite() || r < 0.05 => "0".to_owned(),
        r if r < 10.0 => format!("{r:.1}"),
        r if r < 10_000.0 => format!("{r:.0}"),
        r => format!("{:.1}k", r / 1000.0),
    }
}

/// How long: the two largest units, `3 min 5 s`.
pub fn span(w: &Words, seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.95 {
        return format!("{:.0} ms", (seconds.max(0.0) * 1000.0).min(999.0));
    }
    let mut left = seconds.round() as u64;
    let mut parts = Vec::new();
    for (unit, name) in [(86_400, w.unit_d), (3600, w.unit_h), (60, w.unit_min), (1, w.unit_s)] {
        if left >= unit {
            parts.push(format!("{} {name}", left / unit));
            left %= unit;
        } else if !parts.is_empty() {
            break;
        }
    }
    parts.truncate(2);
    parts.join(" ")
}

/// A word as it begins a line.
pub fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A size: `1.5 MB`.
pub fn bytes(n: i64) -> String {
    let size = n as f64;
    match n {
        ..1000 => format!("{n} B"),
        1000..1_000_000 => format!("{:.1} kB", size / 1e3),
        _ => format!("{:.1} MB", size / 1e6),
    }
}

/// A moment in UTC, which the script turns into the reader's zone, and how long ago it is.
pub fn time(visit: &Visit, at: OffsetDateTime) -> Markup {
    html! { span.when { (moment(at)) " " span.age { (age(visit, at)) } } }
}

/// The moment alone.
pub fn moment(at: OffsetDateTime) -> Markup {
    let at = at.to_offset(time::UtcOffset::UTC);
    let day = format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day());
    let clock = format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second());
    html! { time datetime=(format!("{day}T{clock}.{:03}Z", at.millisecond())) { (day) " " (clock) " UTC" } }
}

/// How long ago, or in how long.
fn age(visit: &Visit, at: OffsetDateTime) -> String {
    let seconds = (visit.now - at).as_seconds_f64();
    let (sentence, seconds) =
        if seconds < -0.5 { (visit.w.in_time, -seconds) } else { (visit.w.ago, seconds.max(0.0)) };
    sentence.replace("{0}", &span(visit.w, seconds))
}

#[cfg(test)]
mod tests {
    use super::super::words::{CHINESE, ENGLISH};
    use super::*;

    #[test]
    fn counts_that_stopped_say_so() {
        assert_eq!(count(0), "0");
        assert_eq!(count(10_000), "10,000");
        assert_eq!(count(10_001), "> 10,000");
        assert_eq!(number(-1_234_567), "-1,234,567");
    }

    #[test]
    fn spans_have_two_units_at_most() {
        for (seconds, text) in [
            (0.0123, "12 ms"),
            (-5.0, "0 ms"),
            (f64::NAN, "0 ms"),
            (1.0, "1 s"),
            (59.6, "1 min"),
            (185.0, "3 min 5 s"),
            (3600.0, "1 h"),
            (3601.0, "1 h"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(span(&ENGLISH, seconds), text, "{seconds}");
        }
        assert_eq!(span(&CHINESE, 185.0), "3 分 5 秒");
    }

    #[test]
    fn rates_and_sizes_are_short() {
        assert_eq!([rate(0.01), rate(3.25), rate(1234.5), rate(f64::NAN)], ["0", "3.2", "1234", "0"]);
        assert_eq!(rate(20_500.0), "20.5k");
        assert_eq!([capital("in doubt"), capital("存疑"), capital("")], ["In doubt", "存疑", ""]);
        assert_eq!([bytes(999), bytes(1500), bytes(1 << 20)], ["999 B", "1.5 kB", "1.0 MB"]);
    }

    #[test]
    fn moments_are_in_utc_for_programs_and_people() {
        let at = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("is a time");
        let there = at.to_offset(time::UtcOffset::from_hms(8, 0, 0).expect("is an offset"));
        let shown = moment(there).into_string();
        assert_eq!(shown, "<time datetime=\"2027-01-15T08:00:00.000Z\">2027-01-15 08:00:00 UTC</time>");
    }
}
