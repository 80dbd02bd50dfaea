//! Any value under any key: a configuration, or a fault that names the key and never tells the value.

use proptest::prelude::*;

use super::*;

const REFERENCE: &str = include_str!("../../../docs/operating.md");

/// The keys of the reference, but those of alarms, whose tables have no names.
fn keys() -> Vec<String> {
    let rows = REFERENCE.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let keys: Vec<String> = rows.map(|(key, _)| key.replace("NAME", "main")).filter(|key| key.contains('.')).collect();
    assert!(keys.len() > 50, "the reference was understood: {keys:?}");
    keys.into_iter().filter(|key| !key.starts_with("alarm.")).collect()
}

fn value() -> impl Strategy<Value = String> {
    let number = prop_oneof![any::<i64>().prop_map(|n| n.to_string()), (0..10_i64).prop_map(|n| n.to_string())];
    let text = "[^\\p{C}]{0,20}".prop_map(|text| serde_json::json!(text).to_string());
    let leaf = prop_oneof![
        2 => number,
        2 => text,
        1 => any::<bool>().prop_map(|b| b.to_string()),
        1 => Just("1979-05-27T07:32:00Z".to_owned()),
        1 => Just("nan".to_owned()),
        1 => Just("{}".to_owned()),
    ];
    prop_oneof![4 => leaf.clone(), 1 => proptest::collection::vec(leaf, 0..3).prop_map(|v| format!("[{}]", v.join(", ")))]
}

proptest! {
    #[test]
    fn any_value_under_any_key_is_taken_or_refused_by_the_name_of_the_key(
        key in proptest::sample::select(keys()),
        value in value(),
    ) {
        if let Err(error) = Config::parse(&format!("{key} = {value}")) {
            let (text, last) = (error.to_string(), key.rsplit('.').next().expect("there is one"));
            let table = key.split('.').next().expect("there is one");
            let is_about_another = text.contains("missing field") && text.contains(table);
            prop_assert!(text.contains(last) || is_about_another, "{} = {}: {}", key, value, text);
        }
    }

    #[test]
    fn key_that_does_not_exist_is_named(key in proptest::sample::select(keys()), more in "[a-z]{1,8}") {
        let unknown = format!("{key}_zz{more}");
        let last = unknown.rsplit('.').next().expect("there is one");
        let error = Config::parse(&format!("{unknown} = 1")).expect_err("there is no such key").to_string();
        // Tables of free names take any, and miss what such a table needs.
        prop_assert!(error.contains(last), "{}: {}", unknown, error);
    }

    #[test]
    fn any_text_is_a_configuration_or_a_fault(text in "(?s).{0,200}|([a-z.\\[\\]=\"\n{}, 0-9]){0,80}") {
        if let Err(error) = Config::parse(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn secret_of_the_wrong_type_is_not_told(secret in 1_000_000_000_i64..) {
        let error = Config::parse(&format!("source.main.url = {secret}")).expect_err("a url is a text").to_string();
        prop_assert!(!error.contains(&secret.to_string()), "{}", error);
    }
}
