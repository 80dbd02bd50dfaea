//! A plugin's file that comes as a form, with what it is granted.

use axum::extract::multipart::{Field, Multipart};
use axum::extract::{self, FromRequest, Request};
use axum::response::Response;

use super::acts::{reason, told};
use super::notice::{Deed, Notice};
use super::signs::segment;
use crate::admin::body::{Query, Upload, Why};
use crate::admin::caller::Administrator;
use crate::admin::plugins::{Granted, deploy_plugin};
use crate::admin::problem::Problem;
use crate::admin::state::State;

/// What the form holds.
#[derive(Debug, Default)]
pub struct Parcel {
    file: axum::body::Bytes,
    grants: String,
    settings: String,
    why: String,
}

impl<S: Send + Sync> FromRequest<S> for Parcel {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let form = Multipart::from_request(request, state).await;
        let mut form = form.map_err(|e| Problem::media(e.body_text(), "send the form of the plugins' page"))?;
        let mut parcel = Self::default();
        while let Some(field) = form.next_field().await.map_err(|e| Problem::invalid(e.body_text(), "send it again"))? {
            match field.name().unwrap_or_default() {
                "file" => {
                    parcel.file =
                        field.bytes().await.map_err(|e| Problem::too_large(e.body_text(), "send a smaller file"))?
                }
                "grants" => parcel.grants = text(field).await?,
                "settings" => parcel.settings = text(field).await?,
                "why" => parcel.why = text(field).await?,
                _ => {}
            }
        }
        Ok(parcel)
    }
}

async fn text(field: Field<'_>) -> Result<String, Problem> {
    field.text().await.map_err(|e| Problem::invalid(e.body_text(), "send it again"))
}

/// Compiles, checks and deploys it; every instance follows.
pub async fn deploy(
    administrator: Administrator,
    state: extract::State<State>,
    parcel: Parcel,
) -> Result<Response, Problem> {
    if parcel.file.is_empty() {
        return Err(Problem::refused("no file came with the form", "choose a .wasm file"));
    }
    let granted = Granted {
        grants: Some(parcel.grants.replace(char::is_whitespace, ",")),
        settings: Some(settings(&parcel.settings)?),
    };
    let why = Why(reason(Some(parcel.why)));
    let deployed = deploy_plugin(administrator, state, Query(granted), why, Upload(parcel.file)).await?.1.0;
    Ok(told(&format!("/plugins/{}", segment(&deployed.name)), Notice::one(Deed::Deploy, true.into())))
}

/// `KEY=VALUE` lines as the JSON object that the API takes.
fn settings(lines: &str) -> Result<String, Problem> {
    let mut all = serde_json::Map::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let none = || Problem::refused(format!("setting {line:?} has no value"), "write KEY=VALUE, one a line");
        let (key, value) = line.split_once('=').ok_or_else(none)?;
        all.insert(key.trim().to_owned(), value.trim().into());
    }
    Ok(serde_json::Value::Object(all).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_a_line_each() {
        assert_eq!(settings(" a = 1 \r\n\n b=x=y").ok().as_deref(), Some(r#"{"a":"1","b":"x=y"}"#));
        assert_eq!(settings("").ok().as_deref(), Some("{}"));
        assert!(settings("nonsense").is_err_and(|problem| problem.detail.contains("nonsense")));
    }
}
