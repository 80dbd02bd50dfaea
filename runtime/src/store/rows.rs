//! Rows and columns: between the statements' arrays and our types.

use bytes::Bytes;
use tokio_postgres::Row;

use super::{Error, Owned};
use crate::message::{Message, Payload};
use crate::window::{Ask, Found};

/// Asks as the columns that the statements unnest.
pub struct AskColumns<'a> {
    pub feeds: Vec<i32>,
    pub topics: Vec<Option<&'a str>>,
    pub shards: Vec<i32>,
    pub afters: Vec<i64>,
    pub rows: Vec<i32>,
}

impl<'a> AskColumns<'a> {
    pub fn new(asks: &[Ask], only: &'a [Option<String>]) -> Self {
        let int = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        Self {
            feeds: asks.iter().map(|a| int(a.feed)).collect(),
            topics: asks.iter().map(|a| only.get(a.feed).and_then(|t| t.as_deref())).collect(),
            shards: asks.iter().map(|a| i32::from(a.shard)).collect(),
            afters: asks.iter().map(|a| a.after).collect(),
            rows: asks.iter().map(|a| int(a.rows)).collect(),
        }
    }
}

pub fn columns(owned: &[Owned]) -> (Vec<i32>, Vec<i64>) {
    owned.iter().map(|o| (i32::from(o.shard), o.epoch)).unzip()
}

pub fn read_row(row: &Row) -> Result<(usize, Found), Error> {
    let feed = usize_of(row.get(0))?;
    if !row.get::<_, bool>(12) {
        return Ok((feed, Found::Passed { shard: u16_of(row.get(1))?, seq: row.get(2) }));
    }
    let payload = match payload_of(row, 8) {
        Some(bytes) => Payload::Here(Bytes::copy_from_slice(bytes)),
        None => Payload::Behind { bytes: usize_of(row.get::<_, Option<i32>>(10).unwrap_or(0))? },
    };
    let message = Message {
        shard: u16_of(row.get(1))?,
        seq: row.get(2),
        id: row.get(3),
        generation: u32::try_from(row.get::<_, i32>(4)).unwrap_or(0),
        created_at: row.get(5),
        topic: row.get::<_, &str>(6).into(),
        key: row.get::<_, Option<&str>>(7).map(Into::into),
        payload,
        headers: row.get::<_, Option<&str>>(11).map(Into::into),
    };
    Ok((feed, Found::Message(message)))
}

/// Columns `at` and `at + 1`: text or bytes, whichever there is.
pub fn payload_of(row: &Row, at: usize) -> Option<&[u8]> {
    let text = row.get::<_, Option<&str>>(at).map(str::as_bytes);
    text.or_else(|| row.get(at + 1))
}

pub fn u16_of(value: i32) -> Result<u16, Error> {
    u16::try_from(value).map_err(|e| Error::Fatal(format!("shard {value}: {e}")))
}

pub fn usize_of(value: i32) -> Result<usize, Error> {
    usize::try_from(value).map_err(|e| Error::Fatal(format!("feed {value}: {e}")))
}
