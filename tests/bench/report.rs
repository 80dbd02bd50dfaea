//! The figures: a table for people, `target/bench.json` for machines.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Figures in the order in which they were measured.
#[derive(Default)]
pub struct Report {
    rows: Vec<(String, f64, String)>,
}

impl Report {
    /// The median of these, with all of them beside it.
    pub fn median(&mut self, name: &str, values: &[f64], unit: &str) {
        let all: Vec<String> = values.iter().map(|v| shown(*v)).collect();
        self.add(name, median(values), format!("{unit}, median of {}", all.join(" ")));
    }

    /// One figure.
    pub fn add(&mut self, name: &str, value: f64, note: String) {
        println!("{name:<28} {:>12}  {note}", shown(value));
        self.rows.push((name.to_owned(), value, note));
    }

    /// Writes the file.
    pub fn finish(self) -> anyhow::Result<()> {
        let figures: BTreeMap<&str, Value> = self
            .rows
            .iter()
            .map(|(name, value, note)| (name.as_str(), json!({ "value": value, "note": note })))
            .collect();
        let file = std::env::current_dir()?.join("target/bench.json");
        std::fs::write(&file, serde_json::to_string_pretty(&figures)?)?;
        println!("written to target/bench.json");
        Ok(())
    }
}

/// The middle one, or the mean of the two middle ones.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

fn shown(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}
