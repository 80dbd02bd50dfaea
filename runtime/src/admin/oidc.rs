//! People who are known elsewhere: OpenID Connect with authorization code and PKCE. Which of their groups may do what is configured.

mod fetch;

use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreRevocableToken,
    CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IdTokenClaims, IdTokenFields, IssuerUrl, Nonce, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, Scope, StandardErrorResponse, StandardTokenResponse, TokenResponse as _,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use self::fetch::Fetch;
use super::problem::Problem;
use crate::access::Role;
use crate::secret::Secret;
use crate::store::access::Known;
use crate::store::full_text;

/// `[admin.oidc]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its address, as its tokens write it; below it is `/.well-known/openid-configuration`.
    pub issuer: String,
    /// What Avouch is called there. Its redirect address there is the public URL and `/login/oidc/callback`.
    pub client_id: String,
    /// How Avouch proves to be it; none for a public client.
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// What is asked for, beside `openid`, with blanks between.
    #[serde(default = "scopes")]
    pub scopes: String,
    /// The claim of the id token that names a person's groups: a list, or one text.
    #[serde(default = "groups_claim")]
    pub groups_claim: String,
    /// Groups that may look.
    #[serde(default)]
    pub view_groups: Vec<String>,
    /// Groups that may do what operators do.
    #[serde(default)]
    pub operate_groups: Vec<String>,
    /// Groups that may do what administrators do.
    #[serde(default)]
    pub admin_groups: Vec<String>,
}

fn scopes() -> String {
    "email profile".to_owned()
}

fn groups_claim() -> String {
    "groups".to_owned()
}

impl Config {
    /// What cannot be, and what to write instead.
    pub fn fault(&self) -> Option<String> {
        let Ok(issuer) = IssuerUrl::new(self.issuer.clone()) else {
            return Some("admin.oidc.issuer: write https://host/path".to_owned());
        };
        let (url, host) = (issuer.url(), issuer.url().host_str().unwrap_or_default());
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        let is_here = host == "localhost" || address.is_ok_and(|ip| ip.is_loopback());
        let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_here);
        (!is_safe).then(|| "admin.oidc.issuer: write https://, or its tokens can be forged on the way".to_owned())
    }

    /// The highest role of these groups.
    fn role(&self, groups: &[&str]) -> Option<Role> {
        let of =
            [(&self.view_groups, Role::View), (&self.operate_groups, Role::Operate), (&self.admin_groups, Role::Admin)];
        let mapped = of.into_iter().filter(|(names, _)| names.iter().any(|name| groups.contains(&name.as_str())));
        mapped.map(|(_, role)| role).max()
    }
}

/// The claims that a configuration may name.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
struct Others(Map<String, Value>);

impl AdditionalClaims for Others {}

type Fields = IdTokenFields<
    Others,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
type Party = Client<
    Others,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// What an issuer's answer to a browser says.
#[derive(Debug, Deserialize)]
pub struct Answer {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

/// What the browser remembers of a login that is under way, in a cookie: nobody else can finish it.
struct Remembered {
    state: String,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    next: String,
}

/// Signatures that prove more than knowing the client's secret.
const SIGNED_BY_A_KEY: &[CoreJwsSigningAlgorithm] = &[
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Where people are known.
pub struct Issuer {
    config: Config,
    url: IssuerUrl,
    secret: Option<ClientSecret>,
    redirect: RedirectUrl,
    fetch: Fetch,
    /// As it was when somebody left for it last.
    seen: Mutex<Option<Seen>>,
}

/// What an issuer said of itself, or that it did not.
struct Seen {
    at: Instant,
    party: Option<Party>,
}

/// Whoever leaves for it within this time finds it as the one before did: anybody may leave, as often as they like.
const SEEN_FOR: Duration = Duration::from_secs(60);
/// The same if it did not answer.
const MISSED_FOR: Duration = Duration::from_secs(3);

impl Issuer {
    /// `address` is what browsers call this server.
    pub fn new(config: &Config, address: &str) -> Result<Self, String> {
        let url = IssuerUrl::new(config.issuer.clone()).map_err(|e| format!("admin.oidc.issuer: {e}"))?;
        let redirect = RedirectUrl::new(format!("{address}/login/oidc/callback"));
        let redirect = redirect.map_err(|e| format!("admin.public_url: {e}"))?;
        let secret = config.client_secret.as_ref().map(Secret::reveal).transpose().map_err(|e| e.to_string())?;
        let secret = secret.map(ClientSecret::new);
        Ok(Self { config: config.clone(), url, secret, redirect, fetch: Fetch::new()?, seen: Mutex::default() })
    }

    /// Where the browser goes, and what it is to remember until it comes back.
    pub async fn begin(&self, next: &str) -> Result<(String, String), Problem> {
        let party = self.seen_party().await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let request = party
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
            .set_pkce_challenge(challenge)
            .add_scopes(self.config.scopes.split_whitespace().map(|scope| Scope::new(scope.to_owned())));
        let (url, state, nonce) = request.url();
        let remembered = Remembered { state: state.secret().clone(), nonce, verifier, next: next.to_owned() };
        Ok((url.to_string(), remembered.write()))
    }

    /// Who came back, and where they wanted to go.
    pub async fn finish(&self, answer: &Answer, remembered: &str) -> Result<(Known, String), Problem> {
        let remembered =
            Remembered::read(remembered).ok_or_else(|| refused("this browser has begun no login, or too long ago"))?;
        if answer.state.as_ref() != Some(&remembered.state) {
            return Err(refused("the issuer answers a login that this browser has not begun"));
        }
        if answer.iss.as_ref().is_some_and(|iss| *iss != self.config.issuer) {
            return Err(refused("another issuer has answered"));
        }
        let Some(code) = answer.code.clone().filter(|_| answer.error.is_none()) else {
            let error: String =
                answer.error.as_deref().unwrap_or("no code").chars().filter(char::is_ascii_graphic).take(80).collect();
            return Err(refused(&format!("the issuer says {error}")));
        };
        let party = self.party().await?;
        let request = party
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|_| refused("the issuer has no token endpoint"))?;
        let tokens = request.set_pkce_verifier(remembered.verifier).request_async(&self.fetch).await;
        let tokens =
            tokens.map_err(|e| refused(&format!("the issuer gives no tokens for the code: {}", full_text(&e))))?;
        let token = tokens.id_token().ok_or_else(|| refused("the issuer gives no id token"))?;
        let verifier = party.id_token_verifier().set_allowed_algs(SIGNED_BY_A_KEY.to_vec());
        let claims = token.claims(&verifier, &remembered.nonce);
        let claims = claims.map_err(|e| refused(&format!("the issuer's id token is not valid: {}", full_text(&e))))?;
        Ok((self.known(claims)?, remembered.next))
    }

    fn known(&self, claims: &IdTokenClaims<Others, CoreGenderClaim>) -> Result<Known, Problem> {
        let who = who(claims);
        let groups = match claims.additional_claims().0.get(&self.config.groups_claim) {
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(group)) => vec![group.as_str()],
            _ => Vec::new(),
        };
        let role = self.config.role(&groups).ok_or_else(|| {
            let claim = &self.config.groups_claim;
            Problem::forbidden(
                format!("{who} is known, and none of their groups (claim {claim}) may come here"),
                "ask an administrator for one of the groups in [admin.oidc]",
            )
        })?;
        Ok(Known { token: None, who, role })
    }

    /// The issuer as it was a moment ago; of those who come at once, one asks it.
    async fn seen_party(&self) -> Result<Party, Problem> {
        let mut seen = self.seen.lock().await;
        if let Some(Seen { at, party }) = seen.as_ref()
            && at.elapsed() < if party.is_some() { SEEN_FOR } else { MISSED_FOR }
        {
            return party.clone().ok_or_else(silent);
        }
        let party = self.party().await;
        *seen = Some(Seen { at: Instant::now(), party: party.as_ref().ok().cloned() });
        party
    }

    /// The issuer as it is now: keys change, and logins are seldom.
    async fn party(&self) -> Result<Party, Problem> {
        let metadata = CoreProviderMetadata::discover_async(self.url.clone(), &self.fetch).await.map_err(|e| {
            tracing::warn!(error = full_text(&e), "the issuer of [admin.oidc] cannot be asked");
            silent()
        })?;
        let client_id = ClientId::new(self.config.client_id.clone());
        Ok(Party::from_provider_metadata(metadata, client_id, self.secret.clone())
            .set_redirect_uri(self.redirect.clone()))
    }
}

impl Remembered {
    fn write(&self) -> String {
        let next = BASE64URL_NOPAD.encode(self.next.as_bytes());
        format!("{}.{}.{}.{next}", self.state, self.nonce.secret(), self.verifier.secret())
    }

    fn read(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let [state, nonce, verifier, next] = parts[..] else {
            return None;
        };
        if [state, nonce, verifier].iter().any(|part| part.is_empty()) {
            return None;
        }
        let next = String::from_utf8(BASE64URL_NOPAD.decode(next.as_bytes()).ok()?).ok()?;
        let (nonce, verifier) = (Nonce::new(nonce.to_owned()), PkceCodeVerifier::new(verifier.to_owned()));
        Some(Self { state: state.to_owned(), nonce, verifier, next })
    }
}

/// What the audit says: the address, if the issuer has verified that it is theirs; else what the issuer calls them.
fn who(claims: &IdTokenClaims<Others, CoreGenderClaim>) -> String {
    let email = claims.email().filter(|_| claims.email_verified() == Some(true)).map(|email| email.as_str());
    let name = email.unwrap_or(claims.subject().as_str());
    name.chars().filter(|c| !c.is_control()).take(WHO_CHARS_MAX).collect()
}

/// So that it fits into its column whatever the characters are.
const WHO_CHARS_MAX: usize = 64;

fn silent() -> Problem {
    Problem::unavailable(
        "the issuer of OpenID Connect does not answer as it should",
        "log in with a token, or try again later",
    )
}

fn refused(detail: &str) -> Problem {
    Problem::unauthenticated(detail, "begin the login again at /login")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> Config {
        toml::from_str(&format!("issuer = \"https://login.example\"\nclient_id = \"avouch\"\n{more}"))
            .expect("is valid")
    }

    #[test]
    fn groups_give_the_highest_of_their_roles_and_unknown_ones_none() {
        let config =
            config("view_groups = [\"staff\"]\noperate_groups = [\"sre\"]\nadmin_groups = [\"leads\", \"root\"]");
        assert_eq!(config.role(&["staff"]), Some(Role::View));
        assert_eq!(config.role(&["root", "staff"]), Some(Role::Admin));
        assert_eq!(config.role(&["other", "Staff", ""]), None);
        assert_eq!(config.role(&[]), None);
    }

    #[test]
    fn issuer_is_asked_over_https_or_on_this_machine() {
        let fault = |issuer: &str| Config { issuer: issuer.to_owned(), ..config("") }.fault();
        for fine in ["https://login.example/realms/x", "http://127.0.0.1:8080", "http://localhost/x", "http://[::1]:1"]
        {
            assert_eq!(fault(fine), None, "{fine}");
        }
        for wrong in ["http://login.example", "login.example", "", "ftp://localhost", "http://127.0.0.1.evil.example"] {
            assert!(fault(wrong).is_some_and(|text| text.contains("admin.oidc.issuer")), "{wrong}");
        }
    }

    #[test]
    fn what_a_browser_remembers_is_read_back_and_anything_else_is_not() {
        let (_, verifier) = PkceCodeChallenge::new_random_sha256();
        let remembered =
            Remembered { state: "s".into(), nonce: Nonce::new_random(), verifier, next: "/messages?a=ä.b".into() };
        let read = Remembered::read(&remembered.write()).expect("it was written by us");
        assert_eq!((read.state, read.next), ("s".to_owned(), "/messages?a=ä.b".to_owned()));
        for other in ["", "...", "a.b.c", "a.b.c.!", ".b.c.Lw", "a.b.c.Lw.x"] {
            assert!(Remembered::read(other).is_none(), "{other}");
        }
    }
}
