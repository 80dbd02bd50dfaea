//! Where one message of a server ends, and what it says: as much of both protocols as faults need.

use bytes::{Buf, Bytes, BytesMut};

use super::Protocol;

/// What a frame from a server means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A transaction is committed.
    Commit,
    /// Another statement is done.
    Statement,
    /// A stream has stored a message, or had it.
    PubAck,
    Other,
}

/// One whole message of a server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub meaning: Meaning,
    pub bytes: Bytes,
}

/// Takes the next whole message off the buffer; none: it is not there yet.
pub fn take(protocol: Protocol, buffer: &mut BytesMut) -> Option<Frame> {
    match protocol {
        Protocol::Postgres => take_postgres(buffer),
        Protocol::Nats => take_nats(buffer),
    }
}

/// A type, and a length that counts itself. (Nobody here asks for TLS, whose answer is a lone byte.)
fn take_postgres(buffer: &mut BytesMut) -> Option<Frame> {
    let length = (&buffer.get(1..5)?[..]).get_u32() as usize;
    if buffer.len() < length + 1 {
        return None;
    }
    let bytes = buffer.split_to(length + 1).freeze();
    let meaning = match bytes[0] {
        b'C' if bytes[5..].starts_with(b"COMMIT\0") => Meaning::Commit,
        b'C' => Meaning::Statement,
        _ => Meaning::Other,
    };
    Some(Frame { meaning, bytes })
}

/// A line, and after `MSG` and `HMSG` as many bytes as its last word says, and a line end.
fn take_nats(buffer: &mut BytesMut) -> Option<Frame> {
    let line = buffer.windows(2).position(|w| w == b"\r\n")?;
    let text = String::from_utf8_lossy(&buffer[..line]).into_owned();
    if !text.starts_with("MSG ") && !text.starts_with("HMSG ") {
        return Some(Frame { meaning: Meaning::Other, bytes: buffer.split_to(line + 2).freeze() });
    }
    let size: usize = text.rsplit(' ').next()?.parse().ok()?;
    let end = line + 2 + size + 2;
    if buffer.len() < end {
        return None;
    }
    let bytes = buffer.split_to(end).freeze();
    let meaning = if is_pub_ack(&text, &bytes[line + 2..]) { Meaning::PubAck } else { Meaning::Other };
    Some(Frame { meaning, bytes })
}

/// A bare reply that names a stream and a sequence: other answers of JetStream name their type, and messages have headers.
fn is_pub_ack(line: &str, payload: &[u8]) -> bool {
    let has = |what: &[u8]| payload.windows(what.len()).any(|w| w == what);
    line.starts_with("MSG ") && payload.starts_with(b"{") && has(b"\"stream\"") && has(b"\"seq\"") && !has(b"\"type\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(protocol: Protocol, bytes: &[u8]) -> Vec<(Meaning, usize)> {
        let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
        // Byte by byte: a frame is whole or not there.
        for byte in bytes {
            buffer.extend_from_slice(&[*byte]);
            found.extend(take(protocol, &mut buffer).map(|frame| (frame.meaning, frame.bytes.len())));
        }
        assert!(buffer.is_empty(), "{buffer:?}");
        found
    }

    #[test]
    fn commits_and_statements_are_told_apart() {
        let bytes = b"C\0\0\0\x0bCOMMIT\0Z\0\0\0\x05IC\0\0\0\x0dSELECT 1\0";
        assert_eq!(
            all(Protocol::Postgres, bytes),
            [(Meaning::Commit, 12), (Meaning::Other, 6), (Meaning::Statement, 14)]
        );
    }

    #[test]
    fn pub_acks_are_told_from_messages_and_other_answers() {
        let of = |payload: &str| format!("MSG _INBOX.a.1 1 {}\r\n{payload}\r\n", payload.len());
        let ack = of(r#"{"stream":"S", "seq":12345}"#);
        assert_eq!(all(Protocol::Nats, ack.as_bytes()), [(Meaning::PubAck, ack.len())]);
        let info = of(r#"{"type":"x","stream":"S", "seq":1}"#);
        assert_eq!(all(Protocol::Nats, info.as_bytes()), [(Meaning::Other, info.len())]);
        let message = b"HMSG a 1 12 14\r\nNATS/1.0\r\n\r\n{}\r\nPING\r\n".as_slice();
        assert_eq!(all(Protocol::Nats, message), [(Meaning::Other, message.len() - 6), (Meaning::Other, 6)]);
    }
}
