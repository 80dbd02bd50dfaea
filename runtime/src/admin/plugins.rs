//! Plugins over the API: deployed as files, rolled back, removed; what they said.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Body, Path, Query, Upload, Why};
use super::bulk::by;
use super::caller::{Administrator, Viewer};
use super::problem::Problem;
use super::state::State;
use super::tokens::Reason;
use super::transactions::rows_of;
use crate::rules::manifest::Grant;
use crate::rules::{Error, File, Grants};
use crate::store::operate::{Earlier, NewVersion, NotBack};
use crate::store::views::{Deployment, PluginLine};

/// The largest upload that is read; what the configuration takes is looked at then.
pub const UPLOAD_BYTES_MAX: usize = 64 << 20;

/// Which deployments.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Of this plugin.
    name: Option<String>,
    /// At most so many, 50 if it is not said, 500 at most.
    limit: Option<i64>,
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Lines {
    /// Of this plugin.
    name: Option<String>,
    /// Before this number: that of the last line of the answer before.
    cursor: Option<i64>,
    /// At most so many, 50 if it is not said, 500 at most.
    limit: Option<i64>,
}

/// What a plugin is granted of that which it asks for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Granted {
    /// Bindings with commas between: `sql:orders,http:payments`.
    pub grants: Option<String>,
    /// Settings of its manifest, as a JSON object of texts.
    pub settings: Option<String>,
}

/// A version that answers from now on.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Deployed {
    /// The plugin.
    pub name: String,
    /// The SHA-256 of its file.
    pub digest: String,
    /// The team's own version.
    pub version: String,
}

/// Where to go back to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Back {
    /// A version that was deployed before, or how its digest begins, as it was deployed last; it must not mean several. Without it, what
    /// answered before the current version was deployed first.
    #[schema(min_length = 1)]
    pub to: Option<String>,
    /// Instead: the `id` of the deployment, whose grants count then.
    pub deployment: Option<i64>,
    /// Why, for the audit.
    pub reason: Option<String>,
}

/// Deployments, newest first.
#[utoipa::path(get, path = "/v1/plugins", tag = "plugins", security(("token" = ["view"])), params(Filter),
    responses((status = 200, body = [Deployment])))]
pub async fn list_plugins(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Query(filter): Query<Filter>,
) -> Result<Json<Vec<Deployment>>, Problem> {
    Ok(Json(state.store.deployments_shown(filter.name.as_deref(), rows_of(filter.limit)?).await?))
}

/// What plugins said, and why they gave no answer, newest first.
#[utoipa::path(get, path = "/v1/plugin-logs", tag = "plugins", security(("token" = ["view"])), params(Lines),
    responses((status = 200, body = [PluginLine])))]
pub async fn list_plugin_lines(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Query(lines): Query<Lines>,
) -> Result<Json<Vec<PluginLine>>, Problem> {
    Ok(Json(state.store.plugin_lines(lines.name.as_deref(), lines.cursor, rows_of(lines.limit)?).await?))
}

/// Deploys a plugin's file, which is the body: every instance follows at once. What the engine refuses is refused here.
#[utoipa::path(post, path = "/v1/plugins", tag = "plugins", security(("token" = ["admin"])), params(Granted),
    request_body(content = Vec<u8>, content_type = "application/wasm"), responses((status = 201, body = Deployed)))]
pub async fn deploy_plugin(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Query(granted): Query<Granted>,
    Why(why): Why,
    Upload(bytes): Upload,
) -> Result<(StatusCode, Json<Deployed>), Problem> {
    let parts = state.running()?;
    let grants = granted.read()?;
    let file = File::read(bytes.into(), parts.file_bytes_max).map_err(unfit)?;
    // In the engine that will run it, with its bindings.
    parts.rules.load(&file, &grants).await.map_err(unfit)?;
    parts.rules.vet(&file).await.map_err(unfit)?;
    let grants = serde_json::to_value(&grants)
        .map_err(|e| Problem::internal(e.to_string(), "report it as a fault of avouch"))?;
    let (name, version) = (&file.manifest.name, &file.manifest.version);
    let new = NewVersion { name, digest: &file.digest, version, file: &file.bytes, grants: &grants };
    state.store.deploy(by(&caller, why.as_deref()), new).await?;
    Ok((
        StatusCode::CREATED,
        Json(Deployed { name: name.clone(), digest: file.digest.clone(), version: version.clone() }),
    ))
}

/// Goes back to the version before, or to the one given, with the grants that it had.
#[utoipa::path(post, path = "/v1/plugins/{name}/rollback", tag = "plugins", security(("token" = ["admin"])),
    params(("name" = String, Path)), request_body = Back, responses((status = 200, body = [Deployment])))]
pub async fn roll_back_plugin(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Body(back): Body<Back>,
) -> Result<Json<Vec<Deployment>>, Problem> {
    let by = by(&caller, back.reason.as_deref());
    match state.store.roll_back_plugin(by, &name, back.read()?).await? {
        Ok(_) => {}
        Err(NotBack::Several) => {
            return Err(Problem::refused(
                format!("{:?} may mean several versions of {name}", back.to.unwrap_or_default()),
                "send more of the digest, or the deployment's id: see /v1/plugins",
            ));
        }
        Err(NotBack::Nowhere) => {
            return Err(Problem::not_found(
                format!("{name} has no such version to go back to"),
                "see /v1/plugins: unless one is said, it is what answered before the current one was deployed first",
            ));
        }
    }
    Ok(Json(state.store.deployments_shown(Some(&name), 1).await?))
}

/// Nobody answers to its name any more.
#[utoipa::path(post, path = "/v1/plugins/{name}/remove", tag = "plugins", security(("token" = ["admin"])),
    params(("name" = String, Path)), request_body = Reason, responses((status = 204)))]
pub async fn remove_plugin(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<StatusCode, Problem> {
    if state.store.remove_plugin(by(&caller, reason.reason.as_deref()), &name).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found(format!("no plugin {name} was ever deployed"), "see /v1/plugins"))
}

impl Back {
    fn read(&self) -> Result<Earlier<'_>, Problem> {
        match (self.to.as_deref(), self.deployment) {
            (None, None) => Ok(Earlier::Before),
            (Some(to), None) if !to.trim().is_empty() => Ok(Earlier::Version(to)),
            (None, Some(id)) => Ok(Earlier::Deployment(id)),
            _ => {
                Err(Problem::refused("where to go back to is not clear", "send to, which is not empty, or deployment"))
            }
        }
    }
}

impl Granted {
    fn read(&self) -> Result<Grants, Problem> {
        let texts =
            self.grants.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|text| !text.is_empty());
        let bindings: Result<BTreeSet<Grant>, _> = texts.map(str::parse).collect();
        let bindings = bindings.map_err(|e| Problem::invalid(e.to_string(), "write grants=sql:NAME,http:NAME"))?;
        let settings: BTreeMap<String, String> = serde_json::from_str(self.settings.as_deref().unwrap_or("{}"))
            .map_err(|e| Problem::invalid(format!("settings: {e}"), "write a JSON object of texts"))?;
        Ok(Grants { bindings, settings })
    }
}

/// Why a file is not deployed. The texts are for whoever wrote the plugin.
fn unfit(e: Error) -> Problem {
    Problem::refused(e.to_string(), "correct the plugin or its grants: `avouch plugin check` says the same")
}
