//! Whether another stream takes the subjects of one of ours: then ours can neither be made nor edited.

use super::broker::{HERE, Stream};
use super::finding::Finding;
use crate::broker::survey::Found;

/// Other streams that are known to take its subjects.
pub fn others(stream: &Stream) -> Vec<&str> {
    let Found::There(takers) = &stream.takers else { return Vec::new() };
    takers.iter().map(String::as_str).filter(|taker| *taker != stream.name).collect()
}

/// That it could not be asked: no answer must not look like a good one.
pub fn unasked(stream: &Stream) -> Option<Finding> {
    let why = match &stream.takers {
        Found::There(_) | Found::Missing => return None,
        Found::Denied => "the login may not ask",
        Found::Unknown(why) => why.as_str(),
    };
    let subjects = format!("{}.>", stream.wanted.subject_prefix);
    let meaning = format!(
        "whether another stream takes {subjects} is not known: {why}. If one does, this one cannot be made or edited"
    );
    let remedy = format!(
        "let avouch doctor publish to $JS.API.STREAM.NAMES, or ask as somebody who may: nats stream ls --subject '{subjects}'"
    );
    Some(HERE.warning("overlap", "", &meaning, &remedy))
}
