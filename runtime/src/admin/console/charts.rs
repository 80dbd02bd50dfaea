//! How it went: lines over time. Drawn here, so that they are there without a script; the script draws them again, to be pointed at.

use maud::{Markup, html};

use super::figures::{capital, rate, span};
use super::visit::Visit;
use super::words::Words;
use crate::store::views::Sample;

/// How far back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// One hour.
    #[default]
    Hour,
    /// Six of them.
    Hours6,
    /// A day.
    Day,
}

impl Window {
    /// All of them.
    const ALL: [Self; 3] = [Self::Hour, Self::Hours6, Self::Day];

    /// As addresses name it.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Hours6 => "6h",
            Self::Day => "24h",
        }
    }

    /// In minutes.
    pub const fn minutes(self) -> i32 {
        match self {
            Self::Hour => 60,
            Self::Hours6 => 360,
            Self::Day => 1440,
        }
    }

    /// The one that an address names.
    pub fn of(tag: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|window| Some(window.tag()) == tag).unwrap_or_default()
    }
}

/// What the numbers of a chart are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    PerSecond,
    Messages,
    Seconds,
}

/// One line: its name, its colour by its number in the style sheet, its value in a sample.
struct Line {
    name: &'static str,
    colour: u8,
    value: fn(&Sample) -> f64,
}

/// What went wrong has a colour of its own.
const BAD: u8 = 3;

struct Chart {
    name: &'static str,
    unit: Unit,
    lines: Vec<Line>,
}

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 150.0;

/// The section of the overview. It renews itself from `/charts`.
pub fn charts(visit: &Visit, window: Window, samples: &[Sample]) -> Markup {
    html! {
        section.charts aria-labelledby="charts" data-live={ "/charts?window=" (window.tag()) } data-every="10" {
            div.heading {
                h2 #charts { (visit.w.over_time) }
                nav.windows aria-label=(visit.w.window) {
                    @for other in Window::ALL {
                        a href={ "/?window=" (other.tag()) "#charts" } aria-current=[(other == window).then_some("true")] { (other.tag()) }
                    }
                }
            }
            @if samples.is_empty() {
                p.none { (visit.w.no_samples) }
            } @else {
                div.row { @for chart in all(visit.w) { (figure(visit, window, &chart, samples)) } }
            }
        }
    }
}

fn all(w: &'static Words) -> [Chart; 3] {
    [
        Chart {
            name: w.rates,
            unit: Unit::PerSecond,
            lines: vec![
                line(w.inserted, 0, |s| s.inserted_per_s),
                line(w.state_sent, 1, |s| s.sent_per_s),
                line(w.receipts, 2, |s| s.received_per_s),
            ],
        },
        Chart {
            name: w.backlog,
            unit: Unit::Messages,
            lines: vec![
                line(w.state_ready, 0, |s| f64::from(s.ready)),
                line(w.waiting_for_receipts, 1, |s| f64::from(s.waiting)),
                line(w.state_dead, BAD, |s| f64::from(s.dead)),
            ],
        },
        Chart {
            name: w.oldest_unsent,
            unit: Unit::Seconds,
            lines: vec![line(w.age, 1, |s| s.oldest_s.unwrap_or(0.0))],
        },
    ]
}

fn line(name: &'static str, colour: u8, value: fn(&Sample) -> f64) -> Line {
    Line { name, colour, value }
}

fn figure(visit: &Visit, window: Window, chart: &Chart, samples: &[Sample]) -> Markup {
    let values = |line: &Line| samples.iter().map(line.value).collect::<Vec<_>>();
    let most = chart.lines.iter().flat_map(values).fold(0.0, f64::max);
    html! {
        figure data-chart=(points(chart, samples)) data-unit=(unit(visit.w, chart.unit)) data-minutes=(window.minutes()) {
            figcaption {
                strong { (chart.name) }
                ul.legend {
                    @for line in &chart.lines {
                        @let last = samples.last().map_or(0.0, line.value);
                        li { span class={ "key s" (line.colour) } aria-hidden="true" {} (capital(line.name)) " " b { (written(visit.w, chart.unit, last)) } }
                    }
                }
            }
            div.plot data-keep="" {
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img"
                    aria-label={ (chart.name) ": " (visit.w.at_most) " " (written(visit.w, chart.unit, most)) } {
                    @for line in &chart.lines {
                        polyline class={ "line s" (line.colour) } points=(drawn(visit, window, samples, line, most)) {}
                    }
                }
            }
        }
    }
}

fn drawn(visit: &Visit, window: Window, samples: &[Sample], line: &Line, most: f64) -> String {
    let (end, length) = (visit.now.unix_timestamp() as f64, f64::from(window.minutes()) * 60.0);
    let point = |sample: &Sample| {
        let x = (1.0 - (end - sample.at.unix_timestamp() as f64) / length).clamp(0.0, 1.0) * WIDTH;
        let y = HEIGHT - (line.value)(sample) / most.max(1.0) * (HEIGHT - 4.0) - 2.0;
        format!("{x:.1},{y:.1}")
    };
    samples.iter().map(point).collect::<Vec<_>>().join(" ")
}

/// For the script: names, colours, times, then the values of each line.
fn points(chart: &Chart, samples: &[Sample]) -> String {
    let names: Vec<_> = chart.lines.iter().map(|line| line.name).collect();
    let colours: Vec<_> = chart.lines.iter().map(|line| line.colour).collect();
    let times: Vec<_> = samples.iter().map(|sample| sample.at.unix_timestamp()).collect();
    let short = |value: f64| (value * 100.0).round() / 100.0;
    let lines: Vec<Vec<_>> =
        chart.lines.iter().map(|line| samples.iter().map(|sample| short((line.value)(sample))).collect()).collect();
    serde_json::json!({"names": names, "colours": colours, "times": times, "lines": lines}).to_string()
}

fn unit(w: &Words, unit: Unit) -> String {
    match unit {
        Unit::PerSecond => w.per_s.to_owned(),
        Unit::Messages => String::new(),
        Unit::Seconds => format!(" {}", w.unit_s),
    }
}

fn written(w: &Words, unit: Unit, value: f64) -> String {
    match unit {
        Unit::PerSecond => format!("{}{}", rate(value), w.per_s),
        Unit::Messages => super::figures::count(value as i64),
        Unit::Seconds => span(w, value),
    }
}
