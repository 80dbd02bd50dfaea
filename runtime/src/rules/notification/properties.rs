//! Whatever a plugin shapes, and whatever the endpoint's URL is: the request leads to the endpoint or below it.

use proptest::prelude::*;

use super::*;

const ENDPOINTS: &[&str] = &[
    "https://shop.test",
    "https://shop.test:8443/hooks/pay/",
    "http://u:p@shop.test/a%2Fb/?key=1#part",
    "http://127.0.0.1:80/x?",
    "http://[::1]/%2e%2e/y",
];

proptest! {
    #[test]
    fn any_path_leads_below_the_endpoint_or_nowhere(
        path in "[/?]?[/?.%2eEfF5cC\\\\#@:;&= a-z0-9é\r\n\t\0]{0,24}",
        which in 0..ENDPOINTS.len(),
    ) {
        let endpoint: Url = ENDPOINTS[which].parse().expect("it is a URL");
        let request = ShapedRequest { path: Some(path.clone()), headers: Vec::new(), body: Vec::new() };
        let is_fine = verify(&request, 0).is_ok();
        let url = request.url(ENDPOINTS[which]);
        prop_assert_eq!(url.is_some(), is_fine, "{:?}", path);
        let Some(url) = url else { return Ok(()) };
        let url: Url = url.parse().expect("it is a URL");
        prop_assert_eq!(url.origin(), endpoint.origin());
        prop_assert_eq!((url.username(), url.password()), (endpoint.username(), endpoint.password()));
        let below = url.path().strip_prefix(endpoint.path().trim_end_matches('/'));
        prop_assert!(below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')), "{} leads to {}", path, url);
        let own = endpoint.query().unwrap_or_default();
        prop_assert!(url.query().unwrap_or_default().starts_with(own), "{} loses the query in {}", path, url);
        prop_assert_eq!(url.fragment(), None);
    }

    #[test]
    fn any_headers_that_pass_can_be_sent(
        headers in proptest::collection::vec(("(?s).{0,12}|[A-Za-z-]{1,20}", "(?s).{0,20}|[ -~]{0,40}"), 0..70),
    ) {
        let request = ShapedRequest { path: None, headers, body: Vec::new() };
        if verify(&request, 0).is_err() {
            return Ok(());
        }
        for (name, value) in &request.headers {
            prop_assert!(HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok());
            prop_assert!(!name.contains(['\r', '\n']) && !value.contains(['\r', '\n', '\0']));
        }
    }
}
