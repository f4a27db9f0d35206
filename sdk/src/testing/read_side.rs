//! Projections, queries and policies in tests. Rows come from a function that stands for the database.

use uuid::Uuid;

use super::world::record;
use super::{NOW, user};
use crate::cqrs::{Change, Changes, Db, Policy, Projection, Query, QueryHandler, Reaction};
use crate::domain::AggregateRoot;
use crate::events::RecordedEvent;
use crate::shared::{Call, Context, Error, Fault, Result, Rows, StreamRef};

/// Answers statement calls with rows.
pub trait Reader: Fn(&Call) -> Rows {}

impl<F: Fn(&Call) -> Rows> Reader for F {}

/// An event of an aggregate as the log has it.
///
/// # Panics
/// When the event has no JSON form.
pub fn recorded<A: AggregateRoot>(id: Uuid, version: u64, event: A::Event) -> RecordedEvent {
    record(StreamRef::of::<A>(id), version, 1, NOW, user(1), event)
}

/// What a projection makes of an event.
///
/// # Errors
/// When it cannot read the event.
pub fn project<P: Projection>(event: &RecordedEvent) -> Result<Vec<Change>, Fault> {
    let mut changes = Changes::default();
    P::project(event, &mut changes)?;
    Ok(changes.0)
}

/// Calls a function again and again with the rows that it wants.
fn with_rows<T>(reader: impl Reader, call: impl Fn(&Db) -> Result<T>) -> Result<T> {
    let mut answers: Vec<Rows> = Vec::new();
    loop {
        match call(&Db::new(answers.clone())) {
            Err(Error::Reads(calls)) => answers.extend(calls.iter().map(&reader)),
            done => return done,
        }
    }
}

/// What a query answers.
///
/// # Errors
/// Those of the query.
pub fn ask<P: QueryHandler<Q>, Q: Query>(
    query: &Q,
    ctx: &Context,
    reader: impl Reader,
) -> Result<Q::Response> {
    with_rows(reader, |db| P::handle(query, ctx, db))
}

/// What a policy makes of an event.
///
/// # Errors
/// Those of the policy.
pub fn react<P: Policy>(
    event: &RecordedEvent,
    ctx: &Context,
    reader: impl Reader,
) -> Result<Reaction<P::State>> {
    with_rows(reader, |db| P::react(event, None, ctx, db))
}
