//! What keeps old row versions or WAL: sessions, prepared transactions, replication slots, and standbys that tell what they read.

use super::database::{HERE, ago};
use super::finding::Finding;
use crate::store::survey::{Pin, Prepared, Slot};

/// More than a busy reader falls behind by.
const KEPT_BYTES_MAX: i64 = 1 << 30;
/// As `avouch.pins` has it: a busy database makes so many transactions in some minutes, and of slots no time is known.
const XIDS_HELD_MAX: i64 = 1_000_000;

/// Prepared transactions that nobody ends.
pub fn prepared(all: &[Prepared], older_than_s: u64) -> Vec<Finding> {
    let old = all.iter().filter(|p| p.seconds > f64::from(u32::try_from(older_than_s).unwrap_or(u32::MAX)));
    let finding = |p: &Prepared| {
        let meaning = format!(
            "prepared by {} {} ago and not ended: its messages wait, its locks stand, and old row versions are kept for it",
            p.owner,
            ago(p.seconds)
        );
        let name = p.gid.replace('\'', "''");
        let remedy =
            format!("ask its transaction manager; then commit prepared '{name}', or rollback prepared '{name}'");
        HERE.problem("prepared_transaction", &format!("prepared transaction {}", p.gid), &meaning, &remedy)
    };
    old.map(finding).collect()
}

/// Those of the other checks are told there.
pub fn pins(all: &[Pin]) -> Vec<Finding> {
    all.iter().filter_map(pin).collect()
}

fn pin(p: &Pin) -> Option<Finding> {
    if let Some(pid) = p.holder.strip_prefix("session ") {
        let meaning =
            format!("{}: in a transaction for {}, and old row versions are kept for it", p.what, ago(p.seconds));
        let remedy = format!("end the transaction in its program, or select pg_terminate_backend({pid})");
        return Some(HERE.warning("snapshot_held", &p.holder, &meaning, &remedy));
    }
    let pid = p.holder.strip_prefix("wal sender ")?;
    let meaning = format!("{}: old row versions are kept for it", p.what);
    let remedy = format!(
        "end the long query on that standby, or set hot_standby_feedback = off there; for a while, select pg_terminate_backend({pid})"
    );
    Some(HERE.warning("snapshot_held", &p.holder, &meaning, &remedy))
}

/// Slots, whether somebody reads them or not.
pub fn slots(all: &[Slot]) -> Vec<Finding> {
    all.iter().flat_map(|s| if s.is_read { read(s) } else { vec![unread(s)] }).collect()
}

fn unread(s: &Slot) -> Finding {
    let object = object(s);
    let remedy = format!("start its reader, or select pg_drop_replication_slot('{}')", s.name.replace('\'', "''"));
    let meaning = format!("nobody reads it; it keeps {} MB of WAL ({})", s.kept_bytes >> 20, s.state);
    if s.state == "lost" {
        return HERE.warning("replication_slot", &object, "what its reader needs is gone: it cannot go on", &remedy);
    }
    if s.xmin_age.is_none() && s.kept_bytes <= KEPT_BYTES_MAX {
        return HERE.note("replication_slot", &object, &meaning, &remedy);
    }
    let rows = if s.xmin_age.is_some() { ", and old row versions" } else { "" };
    HERE.warning("replication_slot", &object, &format!("{meaning}{rows}"), &remedy)
}

fn read(s: &Slot) -> Vec<Finding> {
    let mut findings = Vec::new();
    let reader = s.pid.map_or_else(|| "its reader".to_owned(), |pid| format!("its reader (process {pid})"));
    if s.kept_bytes > KEPT_BYTES_MAX {
        let meaning = format!(
            "{reader} is connected and keeps {} MB of WAL ({}): it is stuck, or slower than what is written",
            s.kept_bytes >> 20,
            s.state
        );
        let remedy = "see what its program waits for: pg_stat_replication shows how far it is; max_slot_wal_keep_size \
                      bounds what is kept";
        findings.push(HERE.warning("replication_slot", &object(s), &meaning, remedy));
    }
    if let Some(xids) = s.xmin_age.filter(|age| *age > XIDS_HELD_MAX) {
        let meaning = format!(
            "{reader} has a query that began {xids} transactions ago: old row versions are kept for it (hot_standby_feedback)"
        );
        let remedy = "end the long query on that standby, or set hot_standby_feedback = off there";
        findings.push(HERE.warning("replication_slot", &object(s), &meaning, remedy));
    }
    findings
}

fn object(s: &Slot) -> String {
    format!("replication slot {}", s.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Severity;

    fn slot(change: impl FnOnce(&mut Slot)) -> Vec<Finding> {
        let mut slot = Slot {
            name: "s".into(),
            is_read: true,
            pid: Some(42),
            state: "reserved".into(),
            xmin_age: Some(10),
            kept_bytes: 0,
        };
        change(&mut slot);
        slots(&[slot])
    }

    #[test]
    fn slot_in_use_is_judged_by_what_it_keeps() {
        assert_eq!(slot(|_| {}), []);
        assert_eq!(slot(|s| s.kept_bytes = KEPT_BYTES_MAX), []);
        let stuck = slot(|s| s.kept_bytes = KEPT_BYTES_MAX + 1);
        assert_eq!((stuck.len(), stuck[0].severity), (1, Severity::Warning));
        assert!(stuck[0].meaning.contains("process 42") && stuck[0].meaning.contains("1024 MB"), "{stuck:?}");
        let reading = slot(|s| s.xmin_age = Some(XIDS_HELD_MAX + 1));
        assert_eq!((reading.len(), reading[0].severity), (1, Severity::Warning));
        assert!(reading[0].meaning.contains("1000001 transactions ago"), "{reading:?}");
    }

    #[test]
    fn slot_that_nobody_reads_is_told_always() {
        let severity = |change: fn(&mut Slot)| {
            let told = slot(|s| {
                (s.is_read, s.pid, s.xmin_age) = (false, None, None);
                change(s);
            });
            told[0].severity
        };
        assert_eq!(severity(|_| {}), Severity::Note);
        assert_eq!(severity(|s| s.xmin_age = Some(1)), Severity::Warning);
        assert_eq!(severity(|s| s.kept_bytes = KEPT_BYTES_MAX + 1), Severity::Warning);
        assert_eq!(severity(|s| s.state = "lost".into()), Severity::Warning);
    }

    #[test]
    fn standby_that_holds_a_snapshot_is_told() {
        let pin = Pin { holder: "wal sender 42".into(), what: "application standby1".into(), seconds: 0.0 };
        let told = pins(&[pin]);
        assert_eq!((told.len(), told[0].check), (1, "snapshot_held"));
        assert!(told[0].remedy.as_ref().is_some_and(|r| r.contains("hot_standby_feedback = off")), "{told:?}");
    }
}
