//! Tables: columns that line up and fit into the terminal. Every cell is escaped here, so that none is forgotten elsewhere.

use console::{Style, Term, measure_text_width, truncate_str};

use super::tell::escape;

/// What becomes of a column that is too wide for the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It stays whole: ids, times.
    Whole,
    /// It stays whole, and its numbers stand below each other.
    Number,
    /// It is cut.
    Cut,
}

/// How a cell looks, where there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// A person must act.
    Bad,
}

/// A text in a table.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

/// Columns and the rows that were not printed yet.
#[derive(Debug)]
pub struct Table {
    columns: &'static [(&'static str, Fit)],
    widths: Vec<usize>,
    rows: Vec<Vec<Cell>>,
    width_max: Option<usize>,
    is_begun: bool,
}

const GAP: usize = 2;
/// A column is not cut below this.
const CUT_MIN: usize = 8;

impl Table {
    /// As wide as the terminal allows; not cut where there is none.
    pub fn new(columns: &'static [(&'static str, Fit)]) -> Self {
        Self::within(columns, terminal_width())
    }

    fn within(columns: &'static [(&'static str, Fit)], width_max: Option<usize>) -> Self {
        let widths = columns.iter().map(|(name, _)| name.len()).collect();
        Self { columns, widths, rows: Vec::new(), width_max, is_begun: false }
    }

    /// Adds a row: a cell for each column.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(measure_text_width(&cell.text));
        }
        self.rows.push(cells.into());
    }

    /// The rows since the last time, below the columns' names if these are the first. Empty without rows.
    pub fn take(&mut self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let widths = self.fitted();
        let mut text = String::new();
        if !self.is_begun {
            let names = self.columns.iter().map(|(name, _)| Cell::from(name.to_uppercase()));
            text += &line(&names.collect::<Vec<_>>(), &widths, self.columns, &Style::new().bold());
            self.is_begun = true;
        }
        for row in self.rows.drain(..) {
            text += &line(&row, &widths, self.columns, &Style::new());
        }
        text
    }

    /// The widest columns that may be cut give way first.
    fn fitted(&self) -> Vec<usize> {
        let mut widths = self.widths.clone();
        let Some(most) = self.width_max else { return widths };
        loop {
            let excess = (widths.iter().sum::<usize>() + GAP * (widths.len() - 1)).saturating_sub(most);
            let may_be_cut =
                |at: &usize| self.columns[*at].1 == Fit::Cut && widths[*at] > CUT_MIN.max(self.columns[*at].0.len());
            let Some(widest) = (0..widths.len()).filter(may_be_cut).max_by_key(|at| widths[*at]) else { return widths };
            if excess == 0 {
                return widths;
            }
            widths[widest] -= 1;
        }
    }
}

fn line(cells: &[Cell], widths: &[usize], columns: &[(&str, Fit)], style: &Style) -> String {
    let mut text = String::new();
    for (at, ((cell, width), (_, fit))) in cells.iter().zip(widths).zip(columns).enumerate() {
        let shown = truncate_str(&cell.text, *width, "…");
        let pad = " ".repeat(width.saturating_sub(measure_text_width(&shown)));
        let is_last = at + 1 == cells.len();
        let coloured = cell.tone.style(style).apply_to(shown);
        text += &match (fit, is_last) {
            (Fit::Number, _) => format!("{pad}{coloured}"),
            (_, true) => coloured.to_string(),
            (_, false) => format!("{coloured}{pad}"),
        };
        if !is_last {
            text += &" ".repeat(GAP);
        }
    }
    text.trim_end().to_owned() + "\n"
}

impl Tone {
    fn style(self, of_line: &Style) -> Style {
        match self {
            Self::Plain => of_line.clone(),
            Self::Good => of_line.clone().green(),
            Self::Warn => of_line.clone().yellow(),
            Self::Bad => of_line.clone().red(),
        }
    }

    /// What a state of a message, transaction, record, endpoint or delivery looks like.
    pub fn of_state(state: &str) -> Self {
        match state {
            "dead" | "in_doubt" | "rejected" | "parked" | "given_up" | "disabled" => Self::Bad,
            "prepared" | "waiting" | "pending" => Self::Warn,
            "consumed" | "committed" | "done" | "delivered" | "enabled" => Self::Good,
            _ => Self::Plain,
        }
    }
}

impl Cell {
    /// In this tone.
    pub fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// A state, in its tone.
    pub fn state(state: &str) -> Self {
        Self::from(state).toned(Tone::of_state(state))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self { text: escape(text), tone: Tone::Plain }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Option<&str>> for Cell {
    fn from(text: Option<&str>) -> Self {
        Self::from(text.unwrap_or("-"))
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::from(number.to_string())
    }
}

/// Names and values below each other; what is empty is left out.
pub fn facts(facts: &[(&str, String)]) -> String {
    let known = facts.iter().filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| format!("{name:<12} {}\n", escape(value))).collect()
}

/// Of rows that were asked for with one more than are wanted: those that are, and whether there are more.
pub fn cut<T>(mut rows: Vec<T>, limit: i64) -> (Vec<T>, bool) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    (rows, has_more)
}

/// What stands below a table that does not show all.
pub fn more(has_more: bool) -> &'static str {
    if has_more { "there are more: --limit shows more of them\n" } else { "" }
}

/// A heading above a part of what is shown.
pub fn heading(text: &str) -> String {
    format!("\n{}\n", Style::new().bold().apply_to(text))
}

fn terminal_width() -> Option<usize> {
    let out = Term::stdout();
    out.is_term().then(|| out.size_checked().map(|(_, columns)| usize::from(columns))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[(&str, Fit)] = &[("id", Fit::Whole), ("n", Fit::Number), ("text", Fit::Cut)];

    #[test]
    fn columns_line_up_and_only_what_may_be_cut_is() {
        console::set_colors_enabled(false);
        let mut table = Table::within(COLUMNS, Some(20));
        table.row(["a-long-id".into(), 7.into(), "0123456789abcdef".into()]);
        table.row(["b".into(), 700.into(), "世界世界世界世界".into()]);
        let lines: Vec<String> = table.take().lines().map(str::to_owned).collect();
        assert_eq!(lines, ["ID           N  TEXT", "a-long-id    7  0123456…", "b          700  世界世…"]);
        table.row(["c".into(), 1.into(), "\u{1b}[2J".into()]);
        assert_eq!(table.take(), "c            1  \\u{1b}[…\n", "no second heading, and no control character");
        assert_eq!(table.take(), "");
    }

    #[test]
    fn what_is_not_shown_is_said() {
        assert_eq!(cut(vec![1, 2, 3], 2), (vec![1, 2], true));
        assert_eq!(cut(vec![1, 2], 2), (vec![1, 2], false));
        assert!(more(true).contains("--limit") && more(false).is_empty());
    }

    #[test]
    fn nothing_is_cut_without_a_terminal() {
        let mut table = Table::within(COLUMNS, None);
        table.row(["a".into(), 1.into(), "x".repeat(500).into()]);
        assert!(table.take().contains(&"x".repeat(500)));
    }
}
