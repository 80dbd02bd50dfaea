//! Values as Postgres reads them: each type's text form, or null.

use std::fmt::Write;

use serde_json::Value;

/// What can be given for `$1`, `$2`, … of a statement.
///
/// Postgres infers a parameter's type from the statement; where it cannot, cast it there: `$1::bigint`.
pub trait Param {
    /// The value in Postgres's text form; `None` is null.
    fn to_text(&self) -> Option<String>;
}

macro_rules! displayed {
    ($($t:ty),*) => {
        $(
            /// As it is displayed.
            impl Param for $t {
                fn to_text(&self) -> Option<String> {
                    Some(self.to_string())
                }
            }
        )*
    };
}

displayed!(bool, i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, str, String);

macro_rules! floating {
    ($($t:ty),*) => {
        $(
            /// As Postgres spells it: `NaN`, `Infinity`, `-Infinity` where it is no number.
            impl Param for $t {
                fn to_text(&self) -> Option<String> {
                    Some(if self.is_infinite() {
                        if *self > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
                    } else {
                        self.to_string()
                    })
                }
            }
        )*
    };
}

floating!(f32, f64);

/// JSON text, for `json` and `jsonb`. `Value::Null` is JSON's null; SQL's is `None::<Value>`.
impl Param for Value {
    fn to_text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// `bytea`: `\x` and two hexadecimal digits a byte.
impl Param for [u8] {
    fn to_text(&self) -> Option<String> {
        let mut text = String::with_capacity(2 + 2 * self.len());
        text.push_str("\\x");
        for byte in self {
            write!(text, "{byte:02x}").expect("a String takes everything");
        }
        Some(text)
    }
}

/// `bytea`.
impl Param for Vec<u8> {
    fn to_text(&self) -> Option<String> {
        self.as_slice().to_text()
    }
}

/// `bytea`.
impl<const BYTES: usize> Param for [u8; BYTES] {
    fn to_text(&self) -> Option<String> {
        self.as_slice().to_text()
    }
}

/// `None` is null.
impl<T: Param> Param for Option<T> {
    fn to_text(&self) -> Option<String> {
        self.as_ref()?.to_text()
    }
}

/// As the value itself.
impl<T: Param + ?Sized> Param for &T {
    fn to_text(&self) -> Option<String> {
        (**self).to_text()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(param: &dyn Param) -> Option<String> {
        param.to_text()
    }

    #[test]
    fn a_param_has_postgres_text_form() {
        let cases: [(&dyn Param, &str); 13] = [
            (&true, "true"),
            (&-7, "-7"),
            (&u64::MAX, "18446744073709551615"),
            (&1.5, "1.5"),
            (&f64::NAN, "NaN"),
            (&f64::INFINITY, "Infinity"),
            (&f32::NEG_INFINITY, "-Infinity"),
            (&"it's", "it's"),
            (&"7".to_owned(), "7"),
            (&json!({"a": [1, null]}), r#"{"a":[1,null]}"#),
            (&b"\x00\xff".as_slice(), "\\x00ff"),
            (&vec![10_u8], "\\x0a"),
            (&Some(&[0x7f_u8]), "\\x7f"),
        ];
        for (param, expected) in cases {
            assert_eq!(text(param).as_deref(), Some(expected));
        }
    }

    #[test]
    fn none_is_null_and_json_null_is_not() {
        assert_eq!(text(&None::<i64>), None);
        assert_eq!(text(&Value::Null).as_deref(), Some("null"));
    }
}
