//! `GET /v1/plugins…`: what is loaded.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use cairn_model::manifest::Manifest;
use serde::Serialize;

use super::Shared;
use super::request::{Caller, Path};
use super::respond::{Page, json};
use crate::plugins::Plugin;
use crate::problem::{Code, Problem};

#[derive(Serialize)]
struct Row {
    name: String,
    version: String,
    digest: String,
    state: &'static str,
    generation: u64,
}

impl Row {
    fn of(plugin: &Plugin, generation: u64) -> Self {
        let manifest = plugin.manifest();
        Self {
            name: manifest.name.to_string(),
            version: manifest.version.clone(),
            digest: plugin.component.digest().to_string(),
            state: "active",
            generation,
        }
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    row: Row,
    manifest: &'a Manifest,
}

/// The plugins of the present generation.
pub async fn list(State(services): State<Shared>, _caller: Caller) -> Result<Response, Problem> {
    let generation = services.registry.current();
    let items = generation.plugins().iter().map(|plugin| Row::of(plugin, generation.number)).collect();
    Ok(json(StatusCode::OK, &Page { items, next: None }))
}

/// One plugin, with all that it declares.
pub async fn one(
    State(services): State<Shared>,
    Path(name): Path<String>,
    _caller: Caller,
) -> Result<Response, Problem> {
    let generation = services.registry.current();
    let plugin = generation
        .plugins()
        .iter()
        .find(|plugin| *plugin.manifest().name == *name)
        .ok_or_else(|| Problem::new(Code::NotFound, format!("no plugin `{name}` is active")))?;
    Ok(json(StatusCode::OK, &Whole { row: Row::of(plugin, generation.number), manifest: plugin.manifest() }))
}
