//! Who is told, as one reading of the database and the configuration says: with what it takes to tell them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use reqwest::Url;
use reqwest::header::HeaderMap;

use super::EndpointConfig;
use crate::consumers::matches;
use crate::endpoints::{Settings, check_header};
use crate::outside::Outside;
use crate::signature::Key;
use crate::store::notify::{Endpoint, EndpointSecret, Notice};
use crate::store::{Error, Store};

/// Everybody, by their short names.
#[derive(Debug, Default)]
pub struct Roster {
    parties: BTreeMap<i32, Arc<Party>>,
}

/// One endpoint, ready to be told, or why it is not.
#[derive(Debug)]
pub struct Party {
    /// As the database knows it.
    pub endpoint: Endpoint,
    /// How it is told.
    pub settings: Settings,
    /// What a try needs.
    pub means: Result<Means, String>,
    secrets: Vec<(Option<String>, String)>,
}

/// What a try needs.
#[derive(Debug)]
pub struct Means {
    /// Where it is.
    pub url: Url,
    /// What signs, newest first.
    pub keys: Vec<Key>,
    /// What is sent along.
    pub headers: HeaderMap,
}

impl Roster {
    /// Reads them. Those that have not changed since `before` are the same.
    pub async fn read(
        store: &Store,
        configured: &BTreeMap<String, EndpointConfig>,
        outside: &Outside,
        before: &Self,
    ) -> Result<Self, Error> {
        let endpoints = store.endpoints().await?;
        let mut stored: HashMap<i32, Vec<EndpointSecret>> = HashMap::new();
        if endpoints.iter().any(|e| e.is_of_api) {
            for secret in store.endpoint_secrets().await? {
                stored.entry(secret.endpoint).or_default().push(secret);
            }
        }
        let mut parties = BTreeMap::new();
        for endpoint in endpoints {
            let own = stored.remove(&endpoint.id).unwrap_or_default();
            let secrets: Vec<_> = own.into_iter().map(|s| (s.header, s.value)).collect();
            let known = before.parties.get(&endpoint.id);
            let party = match known.filter(|p| p.endpoint == endpoint && p.secrets == secrets) {
                Some(party) => Arc::clone(party),
                None => Arc::new(Party::new(endpoint, secrets, configured, outside)),
            };
            parties.insert(party.endpoint.id, party);
        }
        Ok(Self { parties })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Party>> {
        self.parties.values()
    }

    /// The one with this short name.
    pub fn get(&self, id: i32) -> Option<&Arc<Party>> {
        self.parties.get(&id)
    }

    /// Who is told of this message.
    pub fn of<'a>(&'a self, notice: &'a Notice) -> impl Iterator<Item = i32> + 'a {
        self.parties.values().filter(|p| p.is_told(notice)).map(|p| p.endpoint.id)
    }
}

impl Party {
    fn new(
        endpoint: Endpoint,
        secrets: Vec<(Option<String>, String)>,
        configured: &BTreeMap<String, EndpointConfig>,
        outside: &Outside,
    ) -> Self {
        let (settings, broken) = match Settings::stored(&mut serde_json::Deserializer::from_str(&endpoint.settings)) {
            Ok(settings) => (settings, None),
            Err(e) => (Settings::default(), Some(format!("its settings cannot be read: {e}"))),
        };
        let means = match (broken, endpoint.is_of_api, configured.get(&endpoint.name)) {
            (Some(why), ..) => Err(why),
            (None, true, _) => means(&endpoint.url, &secrets, outside),
            (None, false, Some(config)) => config.reveal().and_then(|secrets| means(&endpoint.url, &secrets, outside)),
            (None, false, None) => Err(format!(
                "its section is not in this configuration: add [endpoint.{name}], or `avouch endpoint remove {name}`",
                name = endpoint.name
            )),
        };
        Self { endpoint, settings, means, secrets }
    }

    fn is_told(&self, notice: &Notice) -> bool {
        let has = |(name, value): (&String, &String)| {
            notice.headers.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
        };
        self.endpoint.topics.iter().any(|pattern| matches(pattern, &notice.topic))
            && self.endpoint.filter.iter().all(has)
    }
}

/// Reads an address, secrets without a name, which sign, and headers. An error holds none of them.
pub fn means(url: &str, secrets: &[(Option<String>, String)], outside: &Outside) -> Result<Means, String> {
    let url = outside.check(url).map_err(|e| format!("url: {e}"))?;
    let (mut keys, mut headers) = (Vec::new(), HeaderMap::new());
    for (name, value) in secrets {
        match name {
            None => keys.push(Key::parse(value).map_err(|e| e.to_string())?),
            Some(name) => {
                let (name, value) = check_header(name, value)?;
                headers.insert(name, value);
            }
        }
    }
    if keys.is_empty() {
        return Err("nothing signs for it: give it a secret".into());
    }
    Ok(Means { url, keys, headers })
}
