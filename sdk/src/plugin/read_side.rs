//! Projections, queries and policies with their types erased.

use schemars::{Schema, schema_for};

use crate::cqrs::{
    Changes, Db, OnFailure, Policy, Projection, Query, QueryHandler, Reaction, Statement, Table,
};
use crate::events::RecordedEvent;
use crate::shared::{Context, Error, Fault, Rejection, Rows};

/// The rows that a query or a policy has been given so far.
pub type Answers = Vec<Rows>;

/// A projection of a plugin.
#[derive(Debug)]
pub struct ProjectionEntry {
    pub(crate) name: &'static str,
    pub(crate) version: u32,
    pub(crate) events: fn() -> Vec<&'static str>,
    pub(crate) tables: &'static [Table],
    pub(crate) statements: &'static [Statement],
    pub(crate) crosses_streams: bool,
    pub(crate) on_failure: OnFailure,
    pub(crate) project: fn(&RecordedEvent, &mut Changes) -> Result<(), Fault>,
}

impl ProjectionEntry {
    /// The entry of a projection.
    pub const fn of<P: Projection>() -> Self {
        Self {
            name: P::NAME,
            version: P::VERSION,
            events: P::events,
            tables: P::TABLES,
            statements: P::STATEMENTS,
            crosses_streams: P::CROSSES_STREAMS,
            on_failure: P::ON_FAILURE,
            project: P::project,
        }
    }
}

type Ask = fn(&[u8], &Context, Answers) -> Result<Vec<u8>, Error>;

/// A query of a plugin.
#[derive(Debug)]
pub struct QueryEntry {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) projection: &'static str,
    pub(crate) params_schema: fn() -> Schema,
    pub(crate) result_schema: fn() -> Schema,
    pub(crate) handle: Ask,
}

impl QueryEntry {
    /// The entry of a query that the projection answers.
    pub const fn of<P: QueryHandler<Q>, Q: Query>() -> Self {
        Self {
            name: Q::NAME,
            description: Q::DESCRIPTION,
            projection: P::NAME,
            params_schema: || schema_for!(Q),
            result_schema: || schema_for!(Q::Response),
            handle: query::<P, Q>,
        }
    }
}

fn query<P: QueryHandler<Q>, Q: Query>(
    params: &[u8],
    ctx: &Context,
    answers: Answers,
) -> Result<Vec<u8>, Error> {
    let params = if params.is_empty() { b"{}" } else { params };
    let query: Q = serde_json::from_slice(params)
        .map_err(|error| Rejection::invalid_field("", format!("the parameters do not fit: {error}")))?;
    let answer = P::handle(&query, ctx, &Db::new(answers))?;
    Ok(serde_json::to_vec(&answer).map_err(Fault::from)?)
}

type React = fn(&RecordedEvent, Option<Vec<u8>>, &Context, Answers) -> Result<Reaction<Vec<u8>>, Error>;

/// A policy of a plugin.
#[derive(Debug)]
pub struct PolicyEntry {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) events: &'static [&'static str],
    pub(crate) projection: Option<&'static str>,
    pub(crate) react: React,
}

impl PolicyEntry {
    /// The entry of a policy.
    pub const fn of<P: Policy>() -> Self {
        let reads = P::Reads::NAME;
        Self {
            name: P::NAME,
            description: P::DESCRIPTION,
            events: P::EVENTS,
            projection: if reads.is_empty() { None } else { Some(reads) },
            react: react::<P>,
        }
    }
}

fn react<P: Policy>(
    event: &RecordedEvent,
    state: Option<Vec<u8>>,
    ctx: &Context,
    answers: Answers,
) -> Result<Reaction<Vec<u8>>, Error> {
    let state = state.map(|json| serde_json::from_slice(&json)).transpose().map_err(Fault::from)?;
    let reaction = P::react(event, state, ctx, &Db::new(answers))?;
    let state = reaction.state.map(|state| serde_json::to_vec(&state)).transpose().map_err(Fault::from)?;
    Ok(Reaction { state, commands: reaction.commands })
}
