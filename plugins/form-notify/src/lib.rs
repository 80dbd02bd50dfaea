//! Notifications as payment providers send them to merchants: a form of the payload's fields, delivered when the answer is
//! `success`.

avouch_sdk::manifest!("plugin.toml");

#[avouch_sdk::notification]
mod rule {
    use std::collections::HashMap;

    use avouch_sdk::prelude::*;
    use serde_json::value::RawValue;

    #[shape]
    pub(super) fn shape(d: &Delivery, cx: &Context) -> Result<Shaped, RuleError> {
        let payload: &RawValue = serde_json::from_slice(d.message.bytes()?)?;
        let settings = cx.config("fields").unwrap_or_default();
        let fields = settings.split_whitespace().map(|field| {
            let (name, pointer) = field
                .split_once('=')
                .ok_or_else(|| RuleError::permanent(format!("setting fields: {field} is not NAME=/POINTER")))?;
            Ok((name, value(payload, pointer)?))
        });
        let fields = fields.collect::<Result<Vec<_>, RuleError>>()?;
        if fields.is_empty() {
            return Err(RuleError::permanent("the setting fields names no field"));
        }
        let shaped = Shaped::form(&fields);
        Ok(match cx.config("path").as_deref().map(str::trim) {
            None | Some("") => shaped,
            Some(path) => shaped.with_path(path),
        })
    }

    #[read]
    pub(super) fn read(_d: &Delivery, r: &NotificationResponse, _cx: &Context) -> Result<Outcome, RuleError> {
        Ok(match (r.status, r.text().map(str::trim)) {
            (200, Some("success")) => Outcome::Delivered,
            (400..=499, Some("reject")) => Outcome::give_up("the endpoint rejects it"),
            _ => Outcome::retry(),
        })
    }

    /// What the pointer points to, as a form has it. Numbers keep their digits as the producer wrote them: 10.50 is no 10.5.
    fn value(payload: &RawValue, pointer: &str) -> Result<String, RuleError> {
        let found = find(payload, pointer).map(RawValue::get).unwrap_or("null");
        match found.as_bytes().first() {
            Some(b'"') => Ok(serde_json::from_str(found)?),
            Some(b'{' | b'[') => Err(RuleError::permanent(format!("what {pointer} points to is no single value"))),
            Some(b'n') | None => Err(RuleError::permanent(format!("the payload has no {pointer}"))),
            Some(_) => Ok(found.to_owned()),
        }
    }

    /// RFC 6901, on text that is not parsed further than it must be.
    fn find<'a>(value: &'a RawValue, pointer: &str) -> Option<&'a RawValue> {
        if pointer.is_empty() {
            return Some(value);
        }
        let rest = pointer.strip_prefix('/')?;
        let end = rest.find('/').unwrap_or(rest.len());
        let token = rest[..end].replace("~1", "/").replace("~0", "~");
        let inner = match value.get().starts_with('[') {
            true => {
                serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()?.get(token.parse::<usize>().ok()?).copied()
            }
            false => serde_json::from_str::<HashMap<String, &RawValue>>(value.get()).ok()?.remove(&token),
        };
        find(inner?, &rest[end..])
    }
}

#[cfg(test)]
mod tests {
    use avouch_sdk::mock::{self, Host, MessageBuilder};
    use avouch_sdk::prelude::*;
    use serde_json::json;

    use super::rule::{read, shape};

    fn shaped(fields: &str, message: MessageBuilder) -> Result<Shaped, RuleError> {
        shape(&mock::delivery(message), &Host::new().config("fields", fields).config("path", "").context())
    }

    fn form(fields: &str, payload: &str) -> Result<String, RuleError> {
        let shaped = shaped(fields, mock::message("orders.paid", json!(null)).with_payload(payload))?;
        Ok(String::from_utf8(shaped.body).expect("a form is text"))
    }

    fn outcome(status: u16, body: &str) -> Outcome {
        let d = mock::delivery(mock::message("orders.paid", json!({})));
        read(&d, &mock::answered(status, body), &Host::new().context()).expect("it always answers")
    }

    #[test]
    fn fields_are_taken_from_the_payload_in_the_order_of_the_setting() {
        let payload = r#"{"order": {"id": "A 7", "tags": ["x", true]}, "amount": 1050, "a/b": "&"}"#;
        let fields = "total=/amount out_trade_no=/order/id paid=/order/tags/1 odd=/a~1b";
        assert_eq!(form(fields, payload).as_deref(), Ok("total=1050&out_trade_no=A+7&paid=true&odd=%26"));
    }

    #[test]
    fn numbers_keep_their_digits() {
        let of = |number: &str| form("n=/n", &format!("{{\"n\": {number} }}"));
        for number in ["10.50", "0.10", "12345678901234567890123", "-1"] {
            assert_eq!(of(number), Ok(format!("n={number}")));
        }
        assert_eq!(of("1e400").as_deref(), Ok("n=1e400"));
    }

    #[test]
    fn the_type_is_that_of_a_form() {
        let shaped = shaped("id=/id", mock::message("t", json!({"id": 7}))).expect("it has an id");
        assert_eq!(shaped.headers, [("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())]);
        assert_eq!(shaped.path, None);
    }

    #[test]
    fn the_path_is_the_setting_s() {
        let host = Host::new().config("fields", "id=/id").config("path", "/payments/notify?v=1");
        let shaped = shape(&mock::delivery(mock::message("t", json!({"id": 7}))), &host.context());
        assert_eq!(shaped.expect("it has an id").path.as_deref(), Some("/payments/notify?v=1"));
    }

    #[test]
    fn what_is_missing_is_no_empty_field() {
        for payload in
            ["{}", r#"{"id": null}"#, r#"{"id": {}}"#, r#"{"id": [1]}"#, "[7]", "7", r#""id""#, "no json", ""]
        {
            assert!(matches!(form("id=/id", payload), Err(RuleError::Permanent(_))), "{payload}");
        }
        let large = mock::message("t", json!({})).with_payload_too_large(300_000);
        assert!(matches!(shaped("id=/id", large), Err(RuleError::Permanent(why)) if why.contains("300000")));
    }

    #[test]
    fn settings_that_name_no_field_are_told() {
        for fields in ["", "  ", "id", "/id"] {
            assert!(matches!(form(fields, r#"{"id": 7}"#), Err(RuleError::Permanent(_))), "{fields:?}");
        }
    }

    #[test]
    fn only_a_200_that_says_success_is_delivered() {
        for body in ["success", " success\r\n"] {
            assert_eq!(outcome(200, body), Outcome::Delivered);
        }
        for body in ["", "SUCCESS", "successful", "\"success\"", "fail", "success success"] {
            assert_eq!(outcome(200, body), Outcome::retry(), "{body}");
        }
        for status in [201, 204, 302, 400, 404, 500] {
            assert_eq!(outcome(status, "success"), Outcome::retry(), "{status}");
        }
    }

    #[test]
    fn only_a_4xx_that_says_reject_is_given_up() {
        for status in [400, 404, 410, 499] {
            assert!(matches!(outcome(status, "reject\n"), Outcome::GiveUp(_)), "{status}");
            assert_eq!(outcome(status, "rejected"), Outcome::retry(), "{status}");
        }
        for status in [200, 399, 500, 503] {
            assert_eq!(outcome(status, "reject"), Outcome::retry(), "{status}");
        }
    }

    #[test]
    fn a_cut_body_is_no_success() {
        let d = mock::delivery(mock::message("t", json!({})));
        let cut = mock::answered(200, "success").cut();
        assert_eq!(read(&d, &cut, &Host::new().context()), Ok(Outcome::retry()));
    }
}
