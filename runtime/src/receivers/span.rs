//! Stretches of time as ids: the first 48 bits of a UUIDv7 are the milliseconds since 1970. Pure.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::receivers::Between;

/// As far as 48 bits reach.
const MS_MAX: i64 = (1 << 48) - 1;
/// The other bits of an id.
const REST_BITS: u32 = 80;

/// The millisecond of a time; none: no id can be of it.
pub fn ms_of(at: OffsetDateTime) -> Option<i64> {
    let ms = i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).ok()?;
    (0..=MS_MAX).contains(&ms).then_some(ms)
}

/// The time of a millisecond.
pub fn at_ms(ms: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .expect("it is of 48 bits, which is before 9999")
}

/// Below every id of this millisecond and above those before it: it lacks the version, so it is none itself.
pub fn bound(ms: i64) -> Uuid {
    Uuid::from_u128(u128::from(ms.clamp(0, MS_MAX).unsigned_abs()) << REST_BITS)
}

/// What was inserted from `from_ms` on, before `to_ms`.
pub fn between(from_ms: i64, to_ms: i64) -> Between {
    Between { above: bound(from_ms), below: bound(to_ms) }
}

#[cfg(test)]
mod tests {
    use time::format_description::well_known::Rfc3339;
    use uuid::Timestamp;

    use super::*;

    fn id(ms: i64) -> Uuid {
        let seconds = ms.unsigned_abs() / 1_000;
        let nanos = u32::try_from(ms.unsigned_abs() % 1_000).expect("is small") * 1_000_000;
        Uuid::new_v7(Timestamp::from_unix(uuid::NoContext, seconds, nanos))
    }

    #[test]
    fn ids_of_a_stretch_lie_between_its_bounds_and_no_others() {
        let (from, to) = (1_700_000_000_000, 1_700_000_000_005);
        let Between { above, below } = between(from, to);
        for ms in from - 3..to + 3 {
            for _ in 0..100 {
                let id = id(ms);
                assert_eq!(above < id && id < below, (from..to).contains(&ms), "{ms}: {id}");
            }
        }
    }

    fn at(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).expect("it is a time")
    }

    #[test]
    fn times_that_no_id_can_have_are_none() {
        assert_eq!(ms_of(at("1970-01-01T00:00:00Z")), Some(0));
        assert_eq!(ms_of(at("1969-12-31T23:59:59.999999Z")), None);
        assert_eq!(ms_of(at("0001-01-01T00:00:00Z")), None);
        let last = ms_of(at("9999-12-31T23:59:59.999Z")).expect("it has 48 bits");
        assert_eq!(at_ms(last), at("9999-12-31T23:59:59.999Z"));
        assert_eq!(ms_of(at("2026-11-20T01:00:00.0009+01:00")), ms_of(at("2026-11-20T00:00:00Z")));
    }
}
