//! Patterns and topics: matching, covering and overlapping say the same of any of them.

use proptest::prelude::*;

use super::*;

/// Few names, so that they meet.
fn topic() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab]", 1..5).prop_map(|tokens| tokens.join("."))
}

fn pattern() -> impl Strategy<Value = String> {
    (proptest::collection::vec("[ab*]", 0..4), any::<bool>()).prop_map(|(mut tokens, is_open)| {
        if is_open || tokens.is_empty() {
            tokens.push(">".to_owned());
        }
        tokens.join(".")
    })
}

/// What the pattern means, said another way.
fn means(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        ([">"], rest) => !rest.is_empty(),
        ([], []) => true,
        ([want, wants @ ..], [have, haves @ ..]) => (*want == "*" || want == have) && means(wants, haves),
        _ => false,
    }
}

/// A topic of both patterns, if the shorter reading of each has one.
fn witness(a: &str, b: &str) -> String {
    let (one, two): (Vec<&str>, Vec<&str>) = (a.split('.').collect(), b.split('.').collect());
    let name = |n: usize| {
        let tokens = [one.get(n), two.get(n)].into_iter().flatten();
        tokens.copied().find(|t| !["*", ">"].contains(t)).unwrap_or("a")
    };
    (0..one.len().max(two.len())).map(name).collect::<Vec<_>>().join(".")
}

proptest! {
    #[test]
    fn matching_is_what_the_pattern_means(pattern in pattern(), topic in topic()) {
        let (want, have): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), topic.split('.').collect());
        prop_assert_eq!(matches(&pattern, &topic), means(&want, &have));
        prop_assert!(is_pattern(&pattern) && is_pattern(&topic));
    }

    #[test]
    fn patterns_overlap_exactly_when_a_topic_is_of_both(a in pattern(), b in pattern(), topic in topic()) {
        prop_assert_eq!(overlap(&a, &b), overlap(&b, &a));
        prop_assert!(overlap(&a, &a));
        prop_assert!(!(matches(&a, &topic) && matches(&b, &topic)) || overlap(&a, &b), "{} is of both", topic);
        let both = witness(&a, &b);
        prop_assert_eq!(overlap(&a, &b), matches(&a, &both) && matches(&b, &both), "{}", both);
    }

    #[test]
    fn any_text_is_a_pattern_or_none(text in ".*", topic in ".*") {
        let is_one = is_pattern(&text);
        let tokens: Vec<&str> = text.split('.').collect();
        prop_assert!(!is_one || tokens.iter().all(|t| !t.is_empty()));
        matches(&text, &topic);
        prop_assert_eq!(overlap(&text, &topic), overlap(&topic, &text));
    }
}
