//! The way of messages as a picture: stations with their counts, and the arrows between them.

use maud::{Markup, html};

use super::figures::{capital, count, rate, span};
use super::visit::Visit;
use super::words::Words;
use crate::store::views::Status;

/// Which way it goes: to the right on wide screens, down on narrow ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Wide,
    Tall,
}

/// One station: how far along the way, beside it or on it, what it says, where it leads.
struct Station {
    along: i32,
    lane: i32,
    kind: &'static str,
    name: &'static str,
    figure: String,
    more: String,
    href: Option<&'static str>,
}

/// What goes from where to where; both by `along` and `lane`.
const ARROWS: [[(i32, i32); 2]; 8] = [
    [(0, 0), (1, 0)],
    [(1, 0), (2, 0)],
    [(2, 0), (3, 0)],
    [(3, 0), (4, 0)],
    [(1, 1), (1, 0)],
    [(1, 1), (0, 1)],
    [(2, 1), (1, 0)],
    [(3, 0), (3, 1)],
];
const WIDTH: i32 = 164;
const HEIGHT: i32 = 84;
/// Between two stations along the way, and between the way and what is beside it.
const GAP: i32 = 44;
const EDGE: i32 = 4;
/// Of an arrow's head.
const HEAD: f64 = 7.0;

/// Both layouts; the style sheet shows one.
pub fn flow(visit: &Visit, status: &Status) -> Markup {
    let stations = stations(visit.w, status);
    html! {
        div.flow {
            (picture(visit, &stations, Layout::Wide))
            (picture(visit, &stations, Layout::Tall))
        }
    }
}

fn stations(w: &'static Words, s: &Status) -> [Station; 9] {
    let live = || s.instances.iter().filter(|i| i.lease_s > 0.0);
    // Each instance sees all inserts, and sends its share.
    let inserted = live().map(|i| i.inserted_per_s).fold(0.0, f64::max);
    let (sent, received) = (live().map(|i| i.sent_per_s).sum::<f64>(), live().map(|i| i.received_per_s).sum::<f64>());
    let a_second = |r: f64| format!("{}{}", rate(r), w.per_s);
    let oldest = s.oldest_unsent_s.map_or_else(String::new, |age| format!("{} {}", w.oldest, span(w, age)));
    let station =
        |along, lane, kind, name, figure, href| Station { along, lane, kind, name, figure, more: String::new(), href };
    let alarm = |n: i64, kind: &'static str| if n > 0 { kind } else { "calm" };
    [
        station(0, 0, "rate", w.inserted, a_second(inserted), None),
        Station {
            more: oldest,
            ..station(1, 0, "count", w.state_ready, count(s.ready), Some("/messages?state=ready"))
        },
        station(2, 0, "rate", w.state_sent, a_second(sent), None),
        station(3, 0, "count", w.waiting_for_receipts, count(s.waiting), Some("/messages?state=sent")),
        station(4, 0, "rate", w.state_consumed, a_second(received), Some("/messages?state=consumed")),
        station(
            0,
            1,
            alarm(s.in_doubt, "bad"),
            w.state_in_doubt,
            count(s.in_doubt),
            Some("/transactions?state=in_doubt"),
        ),
        station(1, 1, "calm", w.state_prepared, count(s.prepared), Some("/messages?state=prepared")),
        station(2, 1, "calm", w.delayed, count(s.delayed), Some("/messages?state=delayed")),
        station(3, 1, alarm(s.dead, "bad"), w.state_dead, count(s.dead), Some("/dead")),
    ]
}

fn picture(visit: &Visit, stations: &[Station], layout: Layout) -> Markup {
    let class = match layout {
        Layout::Wide => "wide",
        Layout::Tall => "tall",
    };
    let corner = place(layout, 4, 1);
    let (width, height) = (corner.0 + WIDTH + EDGE, corner.1 + HEIGHT + EDGE);
    html! {
        svg class=(class) viewBox=(format!("0 0 {width} {height}")) role="group" aria-label=(visit.w.flow) {
            @for [from, to] in ARROWS { (arrow(place(layout, from.0, from.1), place(layout, to.0, to.1))) }
            @for station in stations {
                @if let Some(href) = station.href {
                    a href=(href) { (drawn(station, layout)) }
                } @else {
                    (drawn(station, layout))
                }
            }
        }
    }
}

/// The upper left corner of a station.
fn place(layout: Layout, along: i32, lane: i32) -> (i32, i32) {
    match layout {
        Layout::Wide => (EDGE + along * (WIDTH + GAP), EDGE + lane * (HEIGHT + GAP)),
        Layout::Tall => (EDGE + lane * (WIDTH + GAP), EDGE + along * (HEIGHT + GAP)),
    }
}

fn drawn(station: &Station, layout: Layout) -> Markup {
    let (x, y) = place(layout, station.along, station.lane);
    let middle = x + WIDTH / 2;
    html! {
        g class={ "station " (station.kind) } {
            rect x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx="8" {}
            text.name x=(middle) y=(y + 22) { (capital(station.name)) " " }
            text.figure x=(middle) y=(y + 52) { (station.figure) " " }
            text.more x=(middle) y=(y + 73) { (station.more) }
        }
    }
}

/// From the border of one box to that of another, with a head.
fn arrow(from: (i32, i32), to: (i32, i32)) -> Markup {
    let ((x1, y1), (x2, y2)) = (border(from, to), border(to, from));
    let (dx, dy) = (x2 - x1, y2 - y1);
    let length = dx.hypot(dy).max(1.0);
    let (ux, uy) = (dx / length, dy / length);
    let (bx, by) = (x2 - ux * HEAD, y2 - uy * HEAD);
    let (px, py) = (-uy * HEAD * 0.6, ux * HEAD * 0.6);
    html! {
        path.line d=(format!("M{x1:.0} {y1:.0}L{bx:.1} {by:.1}")) {}
        path.head d=(format!("M{x2:.1} {y2:.1}L{:.1} {:.1}L{:.1} {:.1}Z", bx + px, by + py, bx - px, by - py)) {}
    }
}

/// Where the border of one box is nearest to another: the middle of a side, or a corner.
fn border(from: (i32, i32), to: (i32, i32)) -> (f64, f64) {
    let side = |at: i32, size: i32, other: i32| match other.cmp(&at) {
        std::cmp::Ordering::Less => f64::from(at),
        std::cmp::Ordering::Equal => f64::from(at) + f64::from(size) / 2.0,
        std::cmp::Ordering::Greater => f64::from(at + size),
    };
    (side(from.0, WIDTH, to.0), side(from.1, HEIGHT, to.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_run_between_the_borders_of_boxes() {
        let (ready, sent) = (place(Layout::Wide, 1, 0), place(Layout::Wide, 2, 0));
        let (x, y) = border(ready, sent);
        assert_eq!((x as i32, y as i32), (ready.0 + WIDTH, ready.1 + HEIGHT / 2));
        let (below, above) = (place(Layout::Tall, 2, 1), place(Layout::Tall, 1, 0));
        let (x, y) = border(below, above);
        assert_eq!((x as i32, y as i32), below, "from the corner");
    }

    #[test]
    fn stations_do_not_lie_on_each_other() {
        for layout in [Layout::Wide, Layout::Tall] {
            let all: Vec<_> = (0..5).flat_map(|along| (0..2).map(move |lane| place(layout, along, lane))).collect();
            for (i, a) in all.iter().enumerate() {
                for b in &all[..i] {
                    assert!((a.0 - b.0).abs() >= WIDTH || (a.1 - b.1).abs() >= HEIGHT, "{layout:?} {a:?} {b:?}");
                }
            }
        }
    }
}
